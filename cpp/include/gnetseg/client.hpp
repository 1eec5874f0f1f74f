// Person masks of gnetsegd for C++17: one header over cppzmq and nlohmann-json. docs/client.md explains the names,
// docs/messages.md the bytes.
//
//     gnetseg::MaskSubscriber masks("ipc:///run/gnetsegd/masks.sock");
//     if (auto mask = masks.latest(0.3); mask && mask->share(way) < 0.02) drive(); else stop(masks.no_data());
//
// For little-endian machines with one CLOCK_MONOTONIC for daemon and reader. One object is for one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <zmq.hpp>

namespace gnetseg {

inline constexpr std::size_t topic_size = 16, header_size = 128;
/// A daemon that is alive has said something within this.
inline constexpr double alive_limit_s = 3.0;
inline constexpr const char *default_endpoint = "ipc:///run/gnetsegd/masks.sock";

/// CLOCK_MONOTONIC, in ns.
inline std::int64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// kind/camera, padded with NUL. std::invalid_argument for a name that does not fit.
inline std::string topic(std::string_view kind, std::string_view camera) {
    const bool fits = !camera.empty() && camera.size() <= 8 && std::all_of(camera.begin(), camera.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    });
    if (!fits) throw std::invalid_argument("a camera's name is 1 to 8 of a-z, 0-9, '_' and '-'");
    std::string made = std::string(kind) + "/" + std::string(camera);
    made.resize(topic_size, '\0');
    return made;
}

/// The header of a mask, as docs/messages.md has it. Times are CLOCK_MONOTONIC in ns.
struct Header {
    std::uint64_t sequence = 0, session = 0, sensor_timestamp_ns = 0, publish_timestamp_ns = 0;
    std::uint32_t dropped_camera = 0, dropped_daemon = 0, payload_size = 0;
    std::uint16_t width = 0, height = 0, stride = 0, payload_offset = 0;
    std::uint8_t bits = 0, classes = 0;
    bool fallback = false;
    std::string backend;
    std::array<std::uint8_t, 16> model_hash{};
};

namespace detail {

template <typename Number> Number number_at(const std::uint8_t *bytes, std::size_t offset) {
    Number value;
    std::memcpy(&value, bytes + offset, sizeof value);
    return value;
}

}  // namespace detail

/// The header of a mask message; nothing for whatever docs/messages.md says to refuse.
inline std::optional<Header> parse_header(const std::uint8_t *bytes, std::size_t size) {
    using detail::number_at;
    if (size < header_size || std::memcmp(bytes, "mask/", 5) != 0 || std::memcmp(bytes + 16, "GSEG", 4) != 0 ||
        bytes[20] != 1)
        return std::nullopt;
    const std::string_view name(reinterpret_cast<const char *>(bytes) + 5, topic_size - 5);
    const auto length = name.find('\0');
    if (length == std::string_view::npos || name.find_first_not_of('\0', length) != std::string_view::npos)
        return std::nullopt;
    try {
        (void)topic("mask", name.substr(0, length));
    } catch (const std::invalid_argument &) {
        return std::nullopt;
    }
    Header header;
    header.payload_offset = number_at<std::uint16_t>(bytes, 22);
    header.fallback = number_at<std::uint32_t>(bytes, 24) & 1;
    header.bits = bytes[28];
    header.classes = bytes[29];
    header.width = number_at<std::uint16_t>(bytes, 30);
    header.height = number_at<std::uint16_t>(bytes, 32);
    header.stride = number_at<std::uint16_t>(bytes, 34);
    header.sequence = number_at<std::uint64_t>(bytes, 40);
    header.session = number_at<std::uint64_t>(bytes, 48);
    header.sensor_timestamp_ns = number_at<std::uint64_t>(bytes, 56);
    header.publish_timestamp_ns = number_at<std::uint64_t>(bytes, 64);
    header.dropped_camera = number_at<std::uint32_t>(bytes, 72);
    header.dropped_daemon = number_at<std::uint32_t>(bytes, 76);
    header.payload_size = number_at<std::uint32_t>(bytes, 112);
    std::copy_n(bytes + 96, 16, header.model_hash.begin());
    const auto *backend = reinterpret_cast<const char *>(bytes) + 80;
    header.backend.assign(backend, 16);
    header.backend.erase(header.backend.find_last_not_of('\0') + 1);
    const bool shows = std::all_of(header.backend.begin(), header.backend.end(), [](char c) { return c >= ' ' && c <= '~'; });
    const bool known_bits = header.bits == 1 || header.bits == 2 || header.bits == 4 || header.bits == 8;
    if (!shows || !known_bits || header.payload_offset < header_size || !header.width || !header.height ||
        header.stride != (std::uint32_t{header.width} * header.bits + 7) / 8 ||
        header.payload_size != std::uint32_t{header.stride} * header.height ||
        size != std::size_t{header.payload_offset} + header.payload_size)
        return std::nullopt;
    return header;
}

/// The part of the upright sensor's picture that fills the mask, in fractions of it.
struct Geometry {
    double x = 0, y = 0, width = 1, height = 1;
};

/// A part of what the camera sees, in fractions of the upright sensor's picture.
class Zone {
public:
    /// A box. std::invalid_argument for one that encloses nothing.
    Zone(double left, double top, double right, double bottom)
        : Zone({{left, top}, {right, top}, {right, bottom}, {left, bottom}}) {
        if (left >= right || top >= bottom) throw std::invalid_argument("a zone's box is left, top, right, bottom");
    }
    /// A polygon's corners, in order. std::invalid_argument for fewer than three, or none that is a number.
    explicit Zone(std::vector<std::pair<double, double>> corners) : corners_(std::move(corners)) {
        if (corners_.size() < 3 || corners_.size() > 256) throw std::invalid_argument("a zone has 3 to 256 corners");
        for (const auto &[x, y] : corners_)
            if (!std::isfinite(x) || !std::isfinite(y)) throw std::invalid_argument("a zone's corner is not a number");
    }
    /// Even-odd: is this place of the sensor's picture inside?
    bool has(double x, double y) const {
        if (x < 0 || x >= 1 || y < 0 || y >= 1) return false;  // with letterbox, beside the picture
        bool inside = false;
        for (std::size_t i = 0, j = corners_.size() - 1; i < corners_.size(); j = i++) {
            const auto &[x1, y1] = corners_[j];
            const auto &[x2, y2] = corners_[i];
            if ((y1 <= y) != (y2 <= y) && x < x1 + (y - y1) * ((x2 - x1) / (y2 - y1))) inside = !inside;
        }
        return inside;
    }

private:
    std::vector<std::pair<double, double>> corners_;
};

/// The smallest box around persons, in pixels of the mask: right and bottom are beyond it.
struct Box {
    int left, top, right, bottom;
};

/// One mask. Positions are pixels from its top left corner.
class Mask {
public:
    Mask(Header header, std::vector<std::uint8_t> labels, std::array<bool, 256> persons, Geometry geometry)
        : header_(std::move(header)), labels_(std::move(labels)), persons_(persons), geometry_(geometry) {}

    const Header &header() const { return header_; }
    const Geometry &geometry() const { return geometry_; }
    int width() const { return header_.width; }
    int height() const { return header_.height; }
    /// The label of each pixel, row by row.
    const std::vector<std::uint8_t> &labels() const { return labels_; }
    std::uint8_t label(int x, int y) const { return labels_[std::size_t(y) * header_.width + x]; }
    /// Is a person here? Which labels are persons says the daemon's info.
    bool person(int x, int y) const { return persons_[label(x, y)]; }
    /// Seconds since the exposure, as of now.
    double age_s() const { return (monotonic_ns() - std::int64_t(header_.sensor_timestamp_ns)) / 1e9; }

    /// How much of the mask is person, 0 to 1.
    double share() const {
        const auto count = std::count_if(labels_.begin(), labels_.end(), [this](auto label) { return persons_[label]; });
        return double(count) / double(labels_.size());
    }
    /// How much of a zone is person. std::invalid_argument for a zone of which this mask shows nothing.
    double share(const Zone &zone) const {
        std::size_t inside = 0, persons = 0;
        for (int y = 0; y < height(); ++y)
            for (int x = 0; x < width(); ++x)
                if (zone.has(geometry_.x + (x + 0.5) / width() * geometry_.width,
                             geometry_.y + (y + 0.5) / height() * geometry_.height)) {
                    ++inside;
                    persons += person(x, y);
                }
        if (!inside) throw std::invalid_argument("this mask shows nothing of the zone; the camera's crop leaves it out");
        return double(persons) / double(inside);
    }
    /// Around all persons; nothing where there is nobody.
    std::optional<Box> box() const {
        Box found{width(), height(), 0, 0};
        for (int y = 0; y < height(); ++y)
            for (int x = 0; x < width(); ++x)
                if (person(x, y))
                    found = {std::min(found.left, x), std::min(found.top, y), std::max(found.right, x + 1), y + 1};
        if (!found.right) return std::nullopt;
        return found;
    }

private:
    Header header_;
    std::vector<std::uint8_t> labels_;
    std::array<bool, 256> persons_;
    Geometry geometry_;
};

/// One label a byte, from any of the encodings. `payload` has `header.payload_size` bytes.
inline std::vector<std::uint8_t> unpack(const std::uint8_t *payload, const Header &header) {
    std::vector<std::uint8_t> labels(std::size_t{header.width} * header.height);
    const int per_byte = 8 / header.bits, low = (1 << header.bits) - 1;
    auto out = labels.begin();
    for (int y = 0; y < header.height; ++y) {
        const auto *row = payload + std::size_t(y) * header.stride;
        for (int x = 0; x < header.width; ++x)
            *out++ = std::uint8_t(row[x / per_byte] >> (8 - header.bits * (x % per_byte + 1)) & low);
    }
    return labels;
}

/// Masks of one camera, of which only those are given that can be gone by.
class MaskSubscriber {
public:
    /// std::invalid_argument or zmq::error_t for a camera or an endpoint that cannot be.
    explicit MaskSubscriber(const std::string &endpoint = default_endpoint, const std::string &camera = "cam0")
        : context_(1), mask_(connect("mask", endpoint, camera)), info_(connect("info", endpoint, camera)),
          status_(connect("status", endpoint, camera)) {}

    /// The newest mask, if its picture was exposed within `max_age_s`, the daemon runs, and its info is here; else
    /// nothing, and `no_data` says why. Never waits. Between two masks the same one again: compare the sequence.
    std::optional<Mask> latest(double max_age_s = 3.0) {
        take_json(info_, info_body_);
        take_json(status_, status_body_);
        take_mask();
        try {
            no_data_ = mistrust(max_age_s);
            if (!no_data_.empty()) return std::nullopt;
            std::array<bool, 256> persons{};
            for (const auto &label : info_body_.at("persons"))
                if (const int number = label.get<int>(); number >= 0 && number < 256) persons[std::size_t(number)] = true;
            const auto &place = info_body_.at("geometry");
            const Geometry geometry{place.at("x").get<double>(), place.at("y").get<double>(),
                                    place.at("width").get<double>(), place.at("height").get<double>()};
            return Mask(header_, labels_, persons, geometry);
        } catch (const nlohmann::json::exception &error) {
            no_data_ = std::string("the daemon's info or status is none: ") + error.what();
            return std::nullopt;
        }
    }

    /// Why `latest` gave nothing, the last time that it was called; empty if it gave a mask.
    const std::string &no_data() const { return no_data_; }
    /// Messages that were none, and have been skipped.
    std::uint64_t bad_messages() const { return bad_messages_; }

private:
    zmq::socket_t connect(const char *kind, const std::string &endpoint, const std::string &camera) {
        zmq::socket_t socket(context_, zmq::socket_type::sub);
        socket.set(zmq::sockopt::conflate, 1);  // one socket a topic: it keeps one message in all
        socket.set(zmq::sockopt::linger, 0);
        socket.set(zmq::sockopt::subscribe, topic(kind, camera));  // before connecting: info greets once
        socket.connect(endpoint);
        return socket;
    }

    void take_json(zmq::socket_t &socket, nlohmann::json &body) {
        zmq::message_t message;
        if (!socket.recv(message, zmq::recv_flags::dontwait)) return;
        const auto *text = static_cast<const char *>(message.data());
        auto found = message.size() < topic_size
                         ? nlohmann::json(nlohmann::json::value_t::discarded)
                         : nlohmann::json::parse(text + topic_size, text + message.size(), nullptr, false);
        if (found.is_object() && found.value("schema", nlohmann::json()) == 1)
            body = std::move(found);
        else
            ++bad_messages_;
    }

    void take_mask() {
        zmq::message_t message;
        if (!mask_.recv(message, zmq::recv_flags::dontwait)) return;
        const auto *bytes = static_cast<const std::uint8_t *>(message.data());
        if (auto header = parse_header(bytes, message.size())) {
            labels_ = unpack(bytes + header->payload_offset, *header);
            header_ = *std::move(header);
        } else {
            ++bad_messages_;
        }
    }

    std::string mistrust(double max_age_s) const {
        if (status_body_.is_null()) return "no daemon has answered yet";
        const auto age_s = [](std::int64_t then_ns) { return double(monotonic_ns() - then_ns) / 1e9; };
        if (age_s(status_body_.at("timestamp_ns").get<std::int64_t>()) > alive_limit_s) return "the daemon is silent";
        if (const auto state = status_body_.at("state").get<std::string>(); state != "running") {
            const auto reason = status_body_.at("reason").get<std::string>();
            return reason.empty() ? "the daemon is " + state : reason;
        }
        if (labels_.empty()) return "the daemon runs, and no mask has come here yet";
        if (status_body_.at("session").get<std::uint64_t>() != header_.session)
            return "the daemon has restarted, and no mask has come yet";
        const double age = age_s(std::int64_t(header_.sensor_timestamp_ns));
        if (!(age <= max_age_s)) return "the newest mask's picture is " + std::to_string(age) + " s old";
        if (age < -max_age_s) return "the newest mask's picture is of the future";
        if (info_body_.is_null() || info_body_.at("session").get<std::uint64_t>() != header_.session ||
            !is_of_its_network(info_body_.at("model").at("sha256").get<std::string>()))
            return "the daemon's info for its masks has not come yet";
        if (info_body_.at("persons").empty()) return "this network knows no persons";
        return "";
    }

    bool is_of_its_network(const std::string &sha256) const {
        static constexpr char digits[] = "0123456789abcdef";
        std::string hash;
        for (const auto byte : header_.model_hash) hash += {digits[byte >> 4], digits[byte & 15]};
        return sha256.compare(0, hash.size(), hash) == 0;
    }

    zmq::context_t context_;
    zmq::socket_t mask_, info_, status_;
    nlohmann::json info_body_, status_body_;
    Header header_;
    std::vector<std::uint8_t> labels_;
    std::string no_data_;
    std::uint64_t bad_messages_ = 0;
};

}  // namespace gnetseg

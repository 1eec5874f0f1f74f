// Reads messages in hex, one a line, and says what each of them is: for the golden messages (tests/vectors/messages).
#include <gnetseg/client.hpp>

#include <iostream>

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        std::vector<std::uint8_t> bytes;
        for (std::size_t i = 0; i + 1 < line.size(); i += 2)
            bytes.push_back(std::uint8_t(std::stoi(line.substr(i, 2), nullptr, 16)));
        const auto header = gnetseg::parse_header(bytes.data(), bytes.size());
        if (!header) {
            std::cout << "none\n";
            continue;
        }
        std::cout << header->sequence << ' ' << header->width << 'x' << header->height << ' ' << std::boolalpha
                  << header->fallback << ' ' << header->backend << ' ';
        const auto labels = gnetseg::unpack(bytes.data() + header->payload_offset, *header);
        for (std::size_t i = 0; i < labels.size(); ++i) std::cout << (i ? "," : "") << int(labels[i]);
        std::cout << '\n';
    }
}

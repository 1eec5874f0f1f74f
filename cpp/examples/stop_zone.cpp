// A robot that stops while somebody is in its way: ./stop_zone [ENDPOINT [SECONDS]]
#include <gnetseg/client.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

int main(int count, char **words) {
    using namespace std::chrono;
    gnetseg::MaskSubscriber masks(count > 1 ? words[1] : gnetseg::default_endpoint);
    const gnetseg::Zone way({{0.35, 0.4}, {0.65, 0.4}, {0.9, 1.0}, {0.1, 1.0}});
    const auto end = steady_clock::now() + seconds(count > 2 ? std::atoi(words[2]) : 1 << 30);
    auto clear_since = steady_clock::time_point::max();
    int going = -1;  // nothing is said yet
    while (steady_clock::now() < end) {
        const auto mask = masks.latest(0.3);
        const double share = mask ? mask->share(way) : 1.0;
        const auto now = steady_clock::now();
        if (share >= 0.03) {
            clear_since = steady_clock::time_point::max();
            if (going != 0) {
                going = 0;
                std::cout << "STOP: " << (mask ? "somebody is in the way" : masks.no_data()) << std::endl;
            }
        } else if (share < 0.01) {
            clear_since = std::min(clear_since, now);
            if (going != 1 && now - clear_since >= seconds(1)) {
                going = 1;
                std::cout << "GO: the way is clear" << std::endl;
            }
        } else {
            clear_since = steady_clock::time_point::max();  // between the two: as it was
        }
        std::this_thread::sleep_for(milliseconds(20));
    }
}

// bench_images FOLDER IMAGES: decodes, crops, mirrors, augments and normalises
// IMAGES training images of FOLDER, with one thread, and prints the processor's
// and the wall clock's milliseconds an image. tests/reference/bench_images.py
// makes a folder and runs this and torchvision in turn.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <exception>
#include <numeric>
#include <string>
#include <vector>

#include "data/images/image_data.h"

namespace {

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) +
         1e-9 * static_cast<double>(now.tv_nsec);
}

void measure(const std::string& folder, std::uint64_t images) {
  mumoe::data::ImageOptions options;
  options.source = folder;
  const auto data = mumoe::data::open_images(options);
  std::vector<std::uint64_t> batch(16);
  const auto wall = std::chrono::steady_clock::now();
  const double begin = processor_seconds();
  std::uint64_t done = 0;
  for (; done < images; done += batch.size()) {
    std::iota(batch.begin(), batch.end(), done);
    data.train->make(batch);
  }
  const double busy = processor_seconds() - begin;
  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - wall;
  const auto count = static_cast<double>(done);
  fmt::print("{:.4f} {:.4f}\n",
             1e3 * busy / count,
             1e3 * passed.count() / count);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count != 3) {
      fmt::print(stderr, "usage: bench_images FOLDER IMAGES\n");
      return 2;
    }
    measure(arguments[1], std::stoull(arguments[2]));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_images: {}\n", error.what());
    return 2;
  }
}

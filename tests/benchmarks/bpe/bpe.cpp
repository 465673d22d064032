// bench_bpe FOLDER: times GPT-2's encoding of texts.
//
// FOLDER holds vocab.bpe and encoder.json. Reads lines `THREADS FILE` until the
// end of its input and answers each with {"seconds", "tokens", "hash"}: the
// whole file encoded by each of THREADS threads at once. `hash` is that of the
// tokens as 32-bit numbers, to compare with another encoder's.
// tests/reference/bench_bpe.py asks this program and tiktoken in turn.

#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/text/bpe.h"
#include "data/text/token_file.h"

namespace {

using mumoe::data::BpeTokenizer;

void answer(const BpeTokenizer& tokenizer,
            std::size_t threads,
            const std::string& path) {
  const std::string text = mumoe::read_file(path);
  std::vector<std::vector<std::int32_t>> ids(threads);
  const auto begin = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> running;
    for (auto& own : ids) {
      running.emplace_back([&] { own = tokenizer.encode(text); });
    }
  }
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - begin;
  const std::string_view bytes(reinterpret_cast<const char*>(ids[0].data()),
                               ids[0].size() * sizeof ids[0][0]);
  std::printf("{\"seconds\": %.6f, \"tokens\": %zu, \"hash\": \"%s\"}\n",
              seconds.count(),
              ids[0].size(),
              mumoe::data::hash_hex(bytes).c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    mumoe::require(argc == 2,
                   "bench_bpe: {} arguments; expected one, the folder of "
                   "vocab.bpe and encoder.json",
                   argc - 1);
    const BpeTokenizer tokenizer(argv[1]);
    std::size_t threads = 0;
    std::string path;
    while (std::cin >> threads && std::getline(std::cin >> std::ws, path)) {
      answer(tokenizer, threads, path);
    }
    return 0;
  } catch (const mumoe::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}

// bench_generate [SHAPE] [TOKENS] [PROMPTS]: how fast a model of random weights
// writes, with its keys and values kept and without, in fp32: whether it is the
// same text, and what the 20th and the 200th token cost. SHAPE is small (the
// default recipe; also the default here), 124m or tiny.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/number.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "model/generate.h"
#include "model/gpt2.h"

namespace mumoe {
namespace {

model::ModelConfig shape_of(const std::string& name) {
  model::ModelConfig config;  // of 124M
  if (name == "124m") return config;
  config.vocab = 256;
  config.context = 256;
  config.depth = config.heads = 4;
  config.width = 256;
  config.mlp.hidden_dim = 1024;
  config.mlp.experts = {64};
  config.mlp.ranks = {199};
  if (name == "small") return config;
  require(name == "tiny", "{}: expected small, 124m or tiny", name);
  config.context = 16;
  config.depth = 1;
  config.width = 32;
  config.mlp.hidden_dim = 64;
  config.mlp.ranks = {8};
  return config;
}

struct Measured {
  std::vector<std::int64_t> ids;
  std::vector<double> ms;  ///< Of each token, of all prompts.
  double total_s = 0;
};

Measured measure(const model::Gpt2& gpt2,
                 std::int64_t tokens,
                 std::size_t prompts,
                 bool cached) {
  using Clock = std::chrono::steady_clock;
  Measured measured;
  std::vector<std::vector<std::int64_t>> begun;
  for (std::size_t p = 0; p < prompts; ++p) {
    begun.push_back({static_cast<std::int64_t>(p) + 1, 2, 3, 4});
  }
  const auto start = Clock::now();
  auto last = start;
  model::generate(
      gpt2,
      begun,
      {.tokens = tokens,
       .temperature = 0,
       .vocabulary = gpt2.config().vocab,
       .cached = cached},
      [&](std::size_t prompt, std::int32_t id) {
        measured.ids.push_back(id);
        if (prompt + 1 < prompts) return true;
        const auto now = Clock::now();
        measured.ms.push_back(
            std::chrono::duration<double, std::milli>(now - last).count());
        last = now;
        return true;
      });
  measured.total_s = std::chrono::duration<double>(last - start).count();
  return measured;
}

/// The median of what up to 21 tokens around number `token` cost.
double around(const std::vector<double>& ms, std::size_t token) {
  const std::size_t begin =
      std::min(token - std::min<std::size_t>(token, 10), ms.size() - 1);
  const std::size_t end = std::min(begin + 21, ms.size());
  std::vector<double> near(ms.begin() + begin, ms.begin() + end);
  std::ranges::nth_element(near, near.begin() + near.size() / 2);
  return near[near.size() / 2];
}

int run(const std::vector<std::string>& words) {
  const std::string shape = words.empty() ? "small" : words[0];
  const auto number = [&](std::size_t word, std::int64_t otherwise) {
    return words.size() > word ? parse_number(words[word],
                                              std::int64_t{1},
                                              std::int64_t{1} << 20)
                               : otherwise;
  };
  const std::int64_t tokens = number(1, 256);
  const auto prompts = static_cast<std::size_t>(number(2, 1));
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
  const model::Gpt2 gpt2(shape_of(shape), registry);
  dist::FlatBuckets buckets(registry, 1 << 25);
  buckets.initialise(1);

  fmt::print("{}; {} tokens, {} prompts\n", gpt2.describe(), tokens, prompts);
  measure(gpt2, 4, prompts, true);  // first calls of libraries
  const Measured kept = measure(gpt2, tokens, prompts, true);
  const Measured anew = measure(gpt2, tokens, prompts, false);
  fmt::print("kept   {:8.2f} s {:10.1f} tokens/s\n",
             kept.total_s,
             static_cast<double>(kept.ids.size()) / kept.total_s);
  fmt::print("anew   {:8.2f} s {:10.1f} tokens/s, {:.1f} times as long\n",
             anew.total_s,
             static_cast<double>(anew.ids.size()) / anew.total_s,
             anew.total_s / kept.total_s);
  fmt::print("token 20: {:.3f} ms, token 200: {:.3f} ms, {:.2f} times\n",
             around(kept.ms, 20),
             around(kept.ms, 200),
             around(kept.ms, 200) / around(kept.ms, 20));
  const bool same = kept.ids == anew.ids;
  fmt::print("{} text\n", same ? "the same" : "ANOTHER");
  return same ? 0 : 1;
}

}  // namespace
}  // namespace mumoe

int main(int argc, char** argv) {
  try {
    return mumoe::run({argv + 1, argv + argc});
  } catch (const mumoe::InputError& error) {
    fmt::print(stderr, "bench_generate: {}\n", error.what());
    return 2;
  }
}

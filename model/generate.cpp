#include "model/generate.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "base/random.h"

namespace mumoe::model {
namespace {

/// The first index whose cumulative probability exceeds `u`.
std::int64_t draw(const at::Tensor& probabilities, double u) {
  const at::Tensor cumulative = probabilities.cumsum(0);
  const auto above = cumulative.gt(u * cumulative[-1].item<double>());
  return above.nonzero()[0].item<std::int64_t>();
}

std::int32_t choose(const at::Tensor& logits,
                    const GenerateConfig& config,
                    double u) {
  if (config.temperature == 0) {
    return static_cast<std::int32_t>(logits.argmax().item<std::int64_t>());
  }
  const std::int64_t kept = config.top_k == 0
                                ? logits.size(0)
                                : std::min(config.top_k, logits.size(0));
  const auto [values, ids] = logits.topk(kept);
  const at::Tensor p = at::softmax(values / config.temperature, 0);
  return static_cast<std::int32_t>(ids[draw(p, u)].item<std::int64_t>());
}

}  // namespace

void GenerateConfig::validate() const {
  require(tokens >= 0, "--tokens {}: expected at least 0", tokens);
  require(temperature >= 0,
          "--temperature {}: expected at least 0",
          temperature);
  require(top_k >= 0, "--top-k {}: expected at least 0", top_k);
}

void generate(const LanguageModel& model,
              std::vector<std::int64_t> prompt,
              const GenerateConfig& config,
              const std::function<bool(std::int32_t)>& emit) {
  config.validate();
  MUMOE_CHECK(!prompt.empty() && config.vocabulary > 0);
  at::NoGradGuard no_grad;
  const CounterRandom random(config.seed, Purpose::generation);
  const std::int64_t context = model.context();
  for (std::int64_t i = 0; i < config.tokens; ++i) {
    const auto length = static_cast<std::int64_t>(prompt.size());
    const std::int64_t seen = std::min(length, context);
    const at::Tensor tokens =
        at::from_blob(prompt.data() + (length - seen), {1, seen}, at::kLong)
            .to(model.device());
    const at::Tensor logits = model.next_logits(tokens)[0]
                                  .narrow(0, 0, config.vocabulary)
                                  .to(at::kCPU, at::kDouble);
    const std::int32_t next = choose(logits, config, random.uniform(i));
    prompt.push_back(next);
    if (!emit(next)) return;
  }
}

}  // namespace mumoe::model

// Shapes: B texts, T tokens, V vocabulary.
#include "model/generate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace mumoe::model {
namespace {

/// The first index whose cumulative probability exceeds `u` of their sum, of
/// the fewest leading ones that have `top_p` of it.
std::int64_t draw(const at::Tensor& probabilities, double top_p, double u) {
  const at::Tensor cumulative = probabilities.cumsum(0);
  const double all = cumulative[-1].item<double>();
  const std::int64_t kept = top_p < 1 ? (cumulative - probabilities)
                                            .lt(top_p * all)
                                            .sum()
                                            .item<std::int64_t>()
                                      : cumulative.size(0);
  const double sum = cumulative[kept - 1].item<double>();
  const auto above = cumulative.gt(u * sum);
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
  return static_cast<std::int32_t>(
      ids[draw(p, config.top_p, u)].item<std::int64_t>());
}

/// A text, and where in it begins what the model sees.
struct Text {
  std::size_t prompt = 0;
  std::vector<std::int64_t> ids;
  std::size_t begin = 0;

  std::int64_t seen() const {
    return static_cast<std::int64_t>(ids.size() - begin);
  }
  /// `count` of the tokens that the model sees, [1, count].
  at::Tensor tokens(std::int64_t count) const {
    return at::tensor(
               at::ArrayRef<std::int64_t>(ids.data() + begin,
                                          static_cast<std::size_t>(count)),
               at::kLong)
        .unsqueeze(0);
  }
};

/// What the model says of the next token of each of several texts.
class Reader {
 public:
  Reader(const LanguageModel& model, bool cached)
      : model_(model), cached_(cached) {}

  /// The logits [B, V], after ids were added to the texts or, at first, of
  /// their prompts.
  at::Tensor next(std::vector<Text>& texts) {
    std::vector<bool> moved;
    for (Text& text : texts) moved.push_back(move(text));
    if (!cached_) return again(texts);
    if (!cache_) return first(texts);
    std::vector<std::int64_t> last;
    for (std::size_t b = 0; b < texts.size(); ++b) {
      if (moved[b]) reread(texts[b], b);
      last.push_back(texts[b].ids.back());
    }
    const std::vector<std::int64_t> ones(texts.size(), 1);
    return model_.next_logits(
        at::tensor(last, at::kLong).unsqueeze(1).to(model_.device()),
        ones,
        *cache_);
  }

  /// Of the texts, only these are left.
  void keep(const std::vector<std::int64_t>& texts) {
    if (cache_) cache_->keep(texts);
  }

 private:
  /// Whether what the model sees of `text` has to begin elsewhere.
  bool move(Text& text) const {
    const std::int64_t context = model_.context();
    if (text.seen() <= context) return false;
    // Of a prompt the whole context is seen.
    const std::int64_t left =
        begins_ ? context : std::max<std::int64_t>(1, context / 2);
    text.begin = text.ids.size() - static_cast<std::size_t>(left);
    return true;
  }

  /// Every text by itself, without a cache.
  at::Tensor again(const std::vector<Text>& texts) {
    begins_ = false;
    std::vector<at::Tensor> rows;
    for (const Text& text : texts) {
      rows.push_back(
          model_.next_logits(text.tokens(text.seen()).to(model_.device())));
    }
    return at::cat(rows);
  }

  /// All prompts at once, filled up to the longest.
  at::Tensor first(const std::vector<Text>& texts) {
    begins_ = false;
    std::vector<std::int64_t> counts;
    for (const Text& text : texts) counts.push_back(text.seen());
    const std::int64_t most = *std::ranges::max_element(counts);
    std::vector<at::Tensor> rows;
    for (const Text& text : texts) {
      rows.push_back(at::constant_pad_nd(text.tokens(text.seen()),
                                         {0, most - text.seen()}));
    }
    cache_ = model_.cache(static_cast<std::int64_t>(texts.size()));
    return model_.next_logits(at::cat(rows).to(model_.device()),
                              counts,
                              *cache_);
  }

  /// All that is seen of text b but its last token.
  void reread(const Text& text, std::size_t b) {
    const std::int64_t count = text.seen() - 1;
    if (count > 0) {
      KeyValueCache one = cache_->only(b);
      model_.next_logits(text.tokens(count).to(model_.device()),
                         std::span(&count, 1),
                         one);
    }
    cache_->hold(b, count);
  }

  const LanguageModel& model_;
  bool cached_;
  bool begins_ = true;
  std::optional<KeyValueCache> cache_;
};

}  // namespace

void GenerateConfig::validate() const {
  require(tokens >= 0, "--tokens {}: expected at least 0", tokens);
  require(temperature >= 0,
          "--temperature {}: expected at least 0",
          temperature);
  require(top_k >= 0, "--top-k {}: expected at least 0", top_k);
  require(top_p > 0 && top_p <= 1,
          "--top-p {}: expected more than 0, at most 1",
          top_p);
}

void generate(
    const LanguageModel& model,
    std::vector<std::vector<std::int64_t>> prompts,
    const GenerateConfig& config,
    const std::function<bool(std::size_t prompt, std::int32_t id)>& emit) {
  config.validate();
  MUMOE_CHECK(config.vocabulary > 0);
  const at::NoGradGuard no_grad;
  const CounterRandom random(config.seed, Purpose::generation);
  std::vector<Text> texts;
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    MUMOE_CHECK(!prompts[p].empty());
    texts.push_back({p, std::move(prompts[p])});
  }
  Reader reader(model, config.cached);
  for (std::int64_t i = 0; i < config.tokens && !texts.empty(); ++i) {
    const at::Tensor logits_BV = reader.next(texts)
                                     .narrow(1, 0, config.vocabulary)
                                     .to(at::kCPU, at::kDouble);
    std::vector<Text> left;
    std::vector<std::int64_t> places;
    for (std::size_t b = 0; b < texts.size(); ++b) {
      const auto row = static_cast<std::int64_t>(b);
      const std::int32_t next =
          choose(logits_BV[row], config, random.uniform(i));
      texts[b].ids.push_back(next);
      if (!emit(texts[b].prompt, next)) continue;
      left.push_back(std::move(texts[b]));
      places.push_back(row);
    }
    if (left.size() < texts.size() && !left.empty()) reader.keep(places);
    texts = std::move(left);
  }
}

void generate(const LanguageModel& model,
              std::vector<std::int64_t> prompt,
              const GenerateConfig& config,
              const std::function<bool(std::int32_t)>& emit) {
  generate(model,
           std::vector<std::vector<std::int64_t>>{std::move(prompt)},
           config,
           [&](std::size_t /*prompt*/, std::int32_t id) { return emit(id); });
}

}  // namespace mumoe::model

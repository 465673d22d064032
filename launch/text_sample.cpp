#include "launch/text_sample.h"

#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/json.h"
#include "data/text/tokenizer.h"
#include "model/generate.h"

namespace mumoe::launch {

std::function<std::string()> text_sampler(const model::Model& model,
                                          const run::Options& options) {
  const auto* const writer = dynamic_cast<const model::LanguageModel*>(&model);
  const std::int64_t tokens = options.trainer.sample_tokens;
  if (writer == nullptr || tokens == 0) return nullptr;
  const std::shared_ptr<const data::Tokenizer> tokenizer =
      data::make_tokenizer(options.tokenizer);
  return [writer, tokens, tokenizer] {
    const at::NoGradGuard no_grad;
    model::GenerateConfig config;
    config.tokens = tokens;
    config.vocabulary = tokenizer->vocabulary();
    std::string text;
    model::generate(*writer,
                    {tokenizer->end_of_document()},
                    config,
                    [&](std::int32_t id) {
                      if (id == tokenizer->end_of_document()) return false;
                      text += tokenizer->decode({&id, 1});
                      return true;
                    });
    return nlohmann::json::parse(to_text(nlohmann::json(text)))
        .get<std::string>();
  };
}

}  // namespace mumoe::launch

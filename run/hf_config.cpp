#include "run/hf_config.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace mumoe::run {
namespace {

using nlohmann::json;

constexpr double kNormEpsilon = 1e-5;
/// The end of a document in GPT-2's vocabulary.
constexpr std::int64_t kEndOfText = 50256;

/// What this program computes, where GPT-2 of transformers has a choice.
struct Fixed {
  const char* key;
  json value;
};

const std::vector<Fixed>& fixed() {
  static const std::vector<Fixed> all = {
      {"model_type", "gpt2"},
      {"layer_norm_epsilon", kNormEpsilon},
      {"scale_attn_weights", true},
      {"scale_attn_by_inverse_layer_idx", false},
      {"add_cross_attention", false},
      {"tie_word_embeddings", true}};
  return all;
}

}  // namespace

std::map<std::string, std::string> read_hf_config(
    const std::filesystem::path& file) {
  const json config = parse_json(read_file(file), file.string());
  require(config.is_object(), "{}: expected an object", file.string());
  for (const auto& [key, value] : fixed()) {
    const auto found = config.find(key);
    require(found == config.end() || *found == value,
            "{}: {} = {}; expected {}, as this program computes",
            file.string(),
            key,
            found == config.end() ? "" : to_text(*found),
            to_text(value));
  }
  std::map<std::string, std::string> read;
  const auto heads = config.find("n_head");
  if (heads != config.end()) {
    const auto count = as_count(*heads);
    require(count.has_value(),
            "{}: n_head = {}; expected a whole number",
            file.string(),
            to_text(*heads));
    read["model.heads"] = std::to_string(*count);
  }
  const std::string activation =
      config.value("activation_function", json()).is_string()
          ? config["activation_function"]
          : "gelu_new";
  require(activation == "gelu" || activation == "gelu_new" ||
              activation == "gelu_pytorch_tanh" || activation == "quick_gelu",
          "{}: activation_function = {}; expected gelu, gelu_new or quick_gelu",
          file.string(),
          activation);
  read["model.gelu"] = activation == "gelu"         ? "exact"
                       : activation == "quick_gelu" ? "quick"
                                                    : "tanh";
  return read;
}

std::string hf_config_text(const Options& options, const char* dtype) {
  const auto& model = options.model;
  const char* gelu = model.gelu == model::Gelu::exact   ? "gelu"
                     : model.gelu == model::Gelu::quick ? "quick_gelu"
                                                        : "gelu_new";
  json config = {{"architectures", {"GPT2LMHeadModel"}},
                 {"activation_function", gelu},
                 {"n_embd", model.width},
                 {"n_head", model.heads},
                 {"n_inner", model.mlp.hidden_dim},
                 {"n_layer", model.depth},
                 {"n_positions", model.context},
                 {"vocab_size", model.vocab},
                 {"attn_pdrop", 0.0},
                 {"embd_pdrop", 0.0},
                 {"resid_pdrop", 0.0},
                 {"torch_dtype", dtype}};
  for (const auto& [key, value] : fixed()) config[key] = value;
  if (model.vocab > kEndOfText) {
    config["bos_token_id"] = config["eos_token_id"] = kEndOfText;
  } else {
    config["bos_token_id"] = config["eos_token_id"] = nullptr;
  }
  return to_text(config, 2) + "\n";
}

}  // namespace mumoe::run

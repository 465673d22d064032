// Weights of others in, and out again.
#include "run/convert.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/file.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "model/classifier.h"
#include "model/families.h"
#include "model/language_model.h"
#include "mumoe/safetensors.h"
#include "run/checkpoint_folder.h"
#include "run/import_weights.h"
#include "tests/support/errors.h"
#include "tests/support/golden_files.h"
#include "tests/support/scratch.h"
#include "tests/support/source_folder.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::expect_input_error;
using testing::ScratchFolder;

/// Cases of tests/reference/hf_cases.py: those stored, or of MUMOE_HF_DIR.
fs::path cases_folder() {
  const char* other = std::getenv("MUMOE_HF_DIR");
  return other != nullptr ? fs::path(other)
                          : fs::path(testing::source_folder()) / "tests/run/hf";
}

fs::path small_model() {
  return fs::path(testing::source_folder()) / "tests/run/hf/small/weights";
}

/// A model of a kind with the weights at a path.
template <class Kind>
struct Loaded {
  Loaded(const fs::path& path, at::ScalarType dtype)
      : registry(*self, dtype, at::kCPU) {
    const OpenedWeights weights = open_weights(path);
    const Options options = options_of(weights, {});
    made = model::family(options.family)
               .make(options.model, registry, {}, nullptr);
    buckets = std::make_unique<dist::FlatBuckets>(registry, 1 << 20);
    import_weights(weights, *buckets);
    model = dynamic_cast<const Kind*>(made.get());
  }

  std::unique_ptr<dist::Communicator> self =
      dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry;
  std::unique_ptr<model::Model> made;
  std::unique_ptr<dist::FlatBuckets> buckets;
  const Kind* model = nullptr;
};

/// The same bytes of every tensor under every name.
void expect_same(const fs::path& a, const fs::path& b) {
  const NamedTensors left = read_safetensors(a), right = read_safetensors(b);
  ASSERT_EQ(left.tensors.size(), right.tensors.size()) << a << " " << b;
  for (const auto& [name, tensor] : left.tensors) {
    EXPECT_TRUE(at::equal(tensor, right.at(name))) << name;
  }
}

std::vector<std::string> converted(const fs::path& from,
                                   const fs::path& to,
                                   std::optional<WeightFormat> as = {}) {
  return convert({.from = from, .to = to, .as = as, .given = {}});
}

void in_fp64(const fs::path& from,
             const fs::path& to,
             std::optional<WeightFormat> as = {}) {
  convert(
      {.from = from, .to = to, .as = as, .dtype = at::kDouble, .given = {}});
}

TEST(Convert, TransformersModelsGiveTheirLogitsAndTokens) {
  int cases = 0;
  for (const auto& entry : fs::directory_iterator(cases_folder())) {
    SCOPED_TRACE(entry.path().string());
    const auto expected =
        read_safetensors(entry.path() / "expected.safetensors");
    const Loaded<model::LanguageModel> loaded(entry.path() / "weights",
                                              at::kFloat);
    const at::Tensor& tokens = expected.at("tokens");
    const at::Tensor& logits = expected.at("logits");
    for (std::int64_t t = 0; t < tokens.size(1); ++t) {
      const auto ours = loaded.model->next_logits(tokens.narrow(1, 0, t + 1));
      const auto off = (ours - logits.select(1, t)).abs().max();
      EXPECT_LT(off.item<double>(), 1e-4) << "position " << t;
    }
    at::Tensor text = tokens.narrow(1, 0, tokens.size(1) / 2);
    const at::Tensor& greedy = expected.at("greedy");
    for (std::int64_t n = 0; n < greedy.size(1); ++n) {
      const auto next = loaded.model->next_logits(text).argmax(-1, true);
      text = at::cat({text, next}, 1);
    }
    EXPECT_TRUE(
        at::equal(text.narrow(1, tokens.size(1) / 2, greedy.size(1)), greedy));
    ++cases;
  }
  EXPECT_GT(cases, 0);
}

TEST(Convert, GoesThroughEveryFormatOfDenseMlpsAndComesBackTheSame) {
  const ScratchFolder folder;
  const fs::path& out = folder.path();
  const auto lines = converted(small_model(), out / "run");
  EXPECT_NE(lines.front().find(": hf, 28 tensors"), std::string::npos)
      << lines.front();
  EXPECT_TRUE(fs::exists(out / "run/config.cfg"));
  converted(out / "run", out / "mumoe.safetensors", WeightFormat::mumoe);
  converted(out / "mumoe.safetensors", out / "nano", WeightFormat::nanogpt);
  converted(out / "nano/model.safetensors", out / "again");
  converted(out / "again", out / "hf");
  expect_same(small_model() / "model.safetensors",
              out / "hf/model.safetensors");
  EXPECT_EQ(open_weights(out / "hf").settings.at("model.heads"), "4");
}

TEST(Convert, LeavesOutWrappersAndMasksAndATiedHead) {
  const ScratchFolder folder;
  NamedTensors named = read_safetensors(small_model() / "model.safetensors");
  NamedTensors wrapped;
  for (const auto& [name, tensor] : named.tensors) {
    const std::string bare = name.substr(std::string("transformer.").size());
    wrapped.tensors["_orig_mod." + bare] = tensor;
  }
  wrapped.tensors["h.0.attn.bias"] = at::ones({1, 1, 14, 14});
  wrapped.tensors["lm_head.weight"] = named.at("transformer.wte.weight");
  wrapped.metadata["n_head"] = "4";
  write_safetensors(folder.path() / "w.safetensors", wrapped);
  converted(folder.path() / "w.safetensors",
            folder.path() / "hf",
            WeightFormat::hf);
  expect_same(small_model() / "model.safetensors",
              folder.path() / "hf/model.safetensors");
  wrapped.tensors["lm_head.weight"] = wrapped.at("lm_head.weight") + 1;
  write_safetensors(folder.path() / "w.safetensors", wrapped);
  expect_input_error(
      [&] { converted(folder.path() / "w.safetensors", folder.path() / "x"); },
      {"w.safetensors: tensor lm_head.weight is not transformer.wte.weight"});
}

/// The dense model with a hidden width of four times its width, as llm.c has.
NamedTensors with_hidden(const NamedTensors& hf, std::int64_t hidden) {
  NamedTensors wide = hf;
  for (auto& [name, tensor] : wide.tensors) {
    const bool fc = name.find("mlp.c_fc") != std::string::npos;
    const bool proj = name.find("mlp.c_proj.weight") != std::string::npos;
    if (!fc && !proj) continue;
    const std::int64_t dim = proj ? 0 : tensor.dim() - 1;
    tensor = at::cat({tensor, tensor}, dim).narrow(dim, 0, hidden).contiguous();
  }
  return wide;
}

TEST(Convert, LlmcKeepsFp32AndRoundsToBf16) {
  const ScratchFolder folder;
  const fs::path& out = folder.path();
  const auto hf =
      with_hidden(read_safetensors(small_model() / "model.safetensors"), 64);
  fs::create_directories(out / "hf");
  write_safetensors(out / "hf/model.safetensors", hf);
  fs::copy(small_model() / "config.json", out / "hf/config.json");
  converted(out / "hf", out / "w.bin");
  // Header, rows of the embedding padded to 128, and all other tensors.
  std::int64_t numbers = (128 - 61) * 16;
  for (const auto& [name, tensor] : hf.tensors) numbers += tensor.numel();
  EXPECT_EQ(fs::file_size(out / "w.bin"), 1024 + 4 * numbers);
  converted(out / "w.bin", out / "back", WeightFormat::hf);
  expect_same(out / "hf/model.safetensors", out / "back/model.safetensors");
  convert({.from = out / "hf",
           .to = out / "half.bin",
           .as = {},
           .dtype = at::kBFloat16,
           .given = {}});
  EXPECT_EQ(fs::file_size(out / "half.bin"), 1024 + 2 * numbers);
  converted(out / "half.bin", out / "half", WeightFormat::hf);
  const auto half = read_safetensors(out / "half/model.safetensors");
  for (const auto& [name, tensor] : hf.tensors) {
    EXPECT_TRUE(
        at::equal(tensor.to(at::kBFloat16).to(at::kFloat), half.at(name)))
        << name;
  }
}

TEST(Convert, LlmcFilesThatAreNoneAreNamed) {
  const ScratchFolder folder;
  std::array<std::int32_t, 256> header{20240326, 3, 8, 60, 2, 2, 4, 128};
  const auto write = [&](std::size_t bytes) {
    std::string text(reinterpret_cast<const char*>(header.data()), 1024);
    text.resize(bytes);
    return folder.write("w.bin", text);
  };
  const auto refused = [&](std::size_t bytes, const std::string& reason) {
    const auto path = write(bytes);
    expect_input_error([&] { open_weights(path); }, {"w.bin", reason});
  };
  refused(500, "truncated: no header of 1024 bytes");
  refused(2000, "2000 bytes; expected 5184 for 2 layers of width 4");
  header[1] = 4;
  refused(2000, "version 4 of llm.c's weights; expected 3 (fp32) or 5 (bf16)");
  header[1] = 3;
  header[7] = 50;
  refused(2000, "padded vocabulary = 50 in its header");
  header[6] = -1;
  refused(2000, "width = -1 in its header; expected 1 to 1048576");
}

/// A golden file's weights, as its authors name them.
fs::path golden_weights(const std::string& name,
                        const ScratchFolder& folder,
                        const std::string& which = "init.") {
  const auto file =
      read_safetensors(testing::golden_folder() / (name + ".safetensors"));
  NamedTensors init;
  for (const auto& [tensor, value] : file.tensors) {
    if (!tensor.starts_with(which)) continue;
    init.tensors[tensor.substr(which.size())] = value;
  }
  if (file.metadata.contains("n_head")) {
    init.metadata["n_head"] = file.metadata.at("n_head");
  }
  const auto path = folder.path() / (name + ".safetensors");
  write_safetensors(path, init);
  return path;
}

TEST(Convert, TheAuthorsMixturesComeBackTheSameInEveryForm) {
  const ScratchFolder folder;
  for (const std::string name : {"gpt2_cp64", "gpt2_cp256", "gpt2_tr64"}) {
    SCOPED_TRACE(name);
    const auto path = golden_weights(name, folder);
    const auto run = folder.path() / (name + "_run");
    convert(
        {.from = path, .to = run, .as = {}, .dtype = at::kDouble, .given = {}});
    const auto back = folder.path() / (name + "_back.safetensors");
    convert(
        {.from = run, .to = back, .as = {}, .dtype = at::kDouble, .given = {}});
    expect_same(path, back);
    // A folded bias row is a parameter of its own here.
    const auto state =
        read_safetensors(run / "checkpoints/step_00000000" / kStateFile);
    EXPECT_TRUE(state.tensors.contains("master.h.0.mlp.layer1.input_bias"));
  }
}

TEST(Convert, TheAuthorsMixersComeBackTheSameAndGiveTheirLogits) {
  const ScratchFolder folder;
  for (const std::string name : {"mixer_cp", "mixer_tr", "mixer_dense"}) {
    SCOPED_TRACE(name);
    const auto path = golden_weights(name, folder, "final.");
    const auto run = folder.path() / (name + "_run");
    in_fp64(path, run);
    const auto back = folder.path() / (name + "_back.safetensors");
    in_fp64(run, back, WeightFormat::mumoe);
    expect_same(path, back);
    const auto file =
        read_safetensors(testing::golden_folder() / (name + ".safetensors"));
    const Loaded<model::Classifier> mixer(run, at::kDouble);
    const at::Tensor logits =
        mixer.model->logits(file.at("images")[0].flatten(1));
    const auto off = (logits - file.at("eval_logits")).abs().max();
    EXPECT_LT(off.item<double>(), 1e-9);
  }
}

TEST(Convert, TimmHasTheStemAsAConvolution) {
  const ScratchFolder folder;
  const auto path = golden_weights("mixer_dense", folder);
  const auto timm = folder.path() / "timm";
  in_fp64(path, folder.path() / "run");
  in_fp64(folder.path() / "run", timm);
  const auto theirs = read_safetensors(timm / "model.safetensors");
  const auto ours = read_safetensors(path);
  const at::Tensor image = at::rand({2, 3, 16, 16}, at::kDouble);
  const at::Tensor by_timm = at::conv2d(image,
                                        theirs.at("stem.proj.weight"),
                                        theirs.at("stem.proj.bias"),
                                        /*stride=*/4)
                                 .flatten(2)
                                 .transpose(1, 2);
  // b c (h p1) (w p2) -> b (h w) (p1 p2 c)
  const at::Tensor patches = image.view({2, 3, 4, 4, 4, 4})
                                 .permute({0, 2, 4, 3, 5, 1})
                                 .reshape({2, 16, 48});
  const at::Tensor expected =
      at::matmul(patches, ours.at("stem.weight").t()) + ours.at("stem.bias");
  EXPECT_TRUE(at::allclose(by_timm, expected, 1e-12, 1e-12));
  EXPECT_TRUE(at::equal(theirs.at("blocks.1.mlp_tokens.fc2.weight"),
                        ours.at("token.1.fn.fn.2.weight")));
  in_fp64(timm, folder.path() / "again");
  in_fp64(folder.path() / "again",
          folder.path() / "back.safetensors",
          WeightFormat::mumoe);
  expect_same(path, folder.path() / "back.safetensors");
  expect_input_error([&] { converted(timm, folder.path() / "w.bin"); },
                     {"--as llmc: has no names for model.family = mixer"});
}

TEST(Convert, RefusesWhatAFormatCannotHold) {
  const ScratchFolder folder;
  const auto mixture = golden_weights("gpt2_cp64", folder);
  const auto to = folder.path() / "to";
  expect_input_error([&] { converted(mixture, to, WeightFormat::hf); },
                     {"hf: no names for mixtures of experts"});
  expect_input_error([&] { converted(mixture, to / "w.bin"); },
                     {"llmc: no names for mixtures of experts"});
  expect_input_error([&] { converted(small_model(), to, WeightFormat::timm); },
                     {"--as timm: has no names for model.family = gpt2"});
  expect_input_error([&] { converted(small_model(), to / "w.bin"); },
                     {"model.hidden = 40; expected 4 x model.width = 64"});
  expect_input_error(
      [&] {
        convert({.from = small_model(),
                 .to = to,
                 .as = {},
                 .given = {{"model.mlp", "cp"}}});
      },
      {"model.mlp = cp, but these are weights of dense MLPs: no factors of a "
       "mixture compute what a trained dense MLP does"});
  EXPECT_FALSE(fs::exists(to / "model.safetensors"));
  converted(small_model(), folder.path() / "run");
  expect_input_error([&] { converted(small_model(), folder.path() / "run"); },
                     {"holds a run with checkpoints"});
}

TEST(Convert, NamesTensorsThatAreMissingOrOddOrTooMany) {
  const ScratchFolder folder;
  const auto path = folder.path() / "w.safetensors";
  const NamedTensors whole =
      read_safetensors(small_model() / "model.safetensors");
  const auto refused = [&](auto change, std::vector<std::string> parts) {
    NamedTensors named = whole;
    named.metadata["n_head"] = "4";
    change(named.tensors);
    write_safetensors(path, named);
    for (const auto& part : parts) {
      expect_input_error([&] { converted(path, folder.path() / "to"); },
                         {"w.safetensors: ", part});
    }
  };
  const std::string name = "transformer.h.1.mlp.c_proj.weight";
  refused([&](auto& tensors) { tensors.erase(name); },
          {"no tensor is named " + name + ", expected with shape [40, 16]"});
  refused(
      [&](auto& tensors) {
        tensors[name] = at::ones({40, 15});
      },
      {"tensor " + name + " has shape [40, 15], expected [40, 16]"});
  refused([&](auto& tensors) { tensors["extra.weight"] = at::ones({3}); },
          {"tensor extra.weight with shape [3] has no place in this model"});
  refused([&](auto& tensors) { tensors.erase("transformer.wpe.weight"); },
          {"no tensor is named transformer.wpe.weight"});
  refused(
      [&](auto& tensors) {
        tensors["transformer.h.0.attn.c_attn.weight"] = at::ones({16, 40});
      },
      {"c_attn.weight has shape [16, 40], expected [C, 3 C] (hf)"});
  refused(
      [&](auto& tensors) {
        tensors = {{"x.weight", at::ones({3})}};
      },
      {"tensor x.weight has a name of no known format"});
  refused([&](auto& tensors) { tensors.clear(); },
          {"no tensors; expected the weights of a model"});
  write_safetensors(path, whole);
  expect_input_error([&] { converted(path, folder.path() / "to"); },
                     {"w.safetensors: does not say how many attention heads",
                      "--model.heads N"});
  EXPECT_FALSE(fs::exists(folder.path() / "to"));
}

TEST(Convert, NamesFilesThatCannotBeTheirs) {
  const ScratchFolder folder;
  expect_input_error([&] { open_weights(folder.path() / "none"); },
                     {"none: is not there"});
  expect_input_error([&] { open_weights(folder.path()); },
                     {"holds neither checkpoints nor .safetensors files",
                      "pt_to_safetensors.py"});
  const auto pickled = folder.write("w.pt", std::string("PK\3\4 zip"));
  expect_input_error(
      [&] { open_weights(pickled); },
      {"w.pt: is a pickle of PyTorch", "launch/pt_to_safetensors.py"});
  const auto config = [&](const std::string& text) {
    fs::copy(small_model() / "model.safetensors",
             folder.path() / "model.safetensors",
             fs::copy_options::overwrite_existing);
    folder.write("config.json", text);
    return folder.path();
  };
  const auto refused = [&](const std::string& text, const std::string& part) {
    const auto path = config(text);
    expect_input_error([&] { open_weights(path); }, {"config.json: ", part});
  };
  refused(R"({"model_type": "llama"})",
          R"(model_type = "llama"; expected "gpt2")");
  refused(R"({"layer_norm_epsilon": 1e-6})",
          "layer_norm_epsilon = 1e-06; expected 1e-05");
  refused(R"({"activation_function": "relu"})", "activation_function = relu");
  refused(R"({"n_head": "two"})", "n_head = \"two\"; expected a whole number");
  refused("[]", "expected an object");
}

// As the files say, or as their programs compute where these say nothing.
TEST(Convert, KeepsWhichGeluWeightsWereTrainedWith) {
  const ScratchFolder folder;
  const auto gelu_of = [&](const char* config) {
    fs::remove_all(folder.path());
    fs::create_directories(folder.path());
    fs::copy(small_model() / "model.safetensors", folder.path());
    if (config != nullptr) folder.write("config.json", std::string(config));
    return open_weights(folder.path()).settings.at("model.gelu");
  };
  EXPECT_EQ(gelu_of(R"({"activation_function": "gelu"})"), "exact");
  EXPECT_EQ(gelu_of(R"({"activation_function": "gelu_new"})"), "tanh");
  EXPECT_EQ(gelu_of("{}"), "tanh");
  EXPECT_EQ(gelu_of(nullptr), "tanh");
  folder.write("config.json", std::string(R"({"n_head": 4})"));
  converted(folder.path(), folder.path() / "run");
  EXPECT_EQ(open_weights(folder.path() / "run").settings.at("model.gelu"),
            "tanh");
  converted(folder.path() / "run", folder.path() / "hf", WeightFormat::hf);
  const std::string config = read_file(folder.path() / "hf/config.json");
  EXPECT_NE(config.find(R"("activation_function": "gelu_new")"), config.npos);
  fs::remove(folder.path() / "hf/config.json");  // it is in the tensors' file
  EXPECT_EQ(open_weights(folder.path() / "hf").settings.at("model.gelu"),
            "tanh");
}

TEST(Convert, ReadsShardsByTheirIndex) {
  const ScratchFolder folder;
  const auto whole = read_safetensors(small_model() / "model.safetensors");
  NamedTensors first, second;
  std::string map;
  for (const auto& [name, tensor] : whole.tensors) {
    const bool front = name.find(".h.0.") != std::string::npos;
    (front ? first : second).tensors[name] = tensor;
    map += fmt::format("{}\"{}\": \"{}.safetensors\"",
                       map.empty() ? "" : ", ",
                       name,
                       front ? "a" : "b");
  }
  write_safetensors(folder.path() / "a.safetensors", first);
  write_safetensors(folder.path() / "b.safetensors", second);
  folder.write("stray.safetensors", "is not in the index");
  folder.write("model.safetensors.index.json",
               "{\"weight_map\": {" + map + "}}");
  fs::copy(small_model() / "config.json", folder.path() / "config.json");
  converted(folder.path(), folder.path() / "hf", WeightFormat::hf);
  expect_same(small_model() / "model.safetensors",
              folder.path() / "hf/model.safetensors");
  fs::remove(folder.path() / "b.safetensors");
  expect_input_error([&] { open_weights(folder.path()); }, {"b.safetensors"});
}

}  // namespace
}  // namespace mumoe::run

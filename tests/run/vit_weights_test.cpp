// Weights of ViTs of timm and transformers in, and out again.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <optional>

#include "base/file.h"
#include "dist/self_communicator.h"
#include "model/vit.h"
#include "mumoe/safetensors.h"
#include "run/convert.h"
#include "run/import_weights.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"
#include "tests/support/scratch.h"
#include "tests/support/source_folder.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::expect_input_error;
using testing::ScratchFolder;
using Given = std::map<std::string, std::string>;

/// Cases of tests/reference/vit_cases.py: those stored, or of MUMOE_VIT_DIR.
fs::path cases_folder() {
  const char* other = std::getenv("MUMOE_VIT_DIR");
  return other != nullptr
             ? fs::path(other)
             : fs::path(testing::source_folder()) / "tests/run/vit";
}

fs::path stored(const std::string& name) {
  return fs::path(testing::source_folder()) / "tests/run/vit" / name;
}

Given given_in(const fs::path& folder) {
  Given given;
  for (const auto& [key, value] :
       read_safetensors(folder / "expected.safetensors").metadata) {
    if (key.starts_with("model.")) given[key] = value;
  }
  return given;
}

/// A ViT with the weights at a path.
struct Loaded {
  explicit Loaded(const fs::path& path, Given given = {})
      : weights(open_weights(path)),
        options(options_of(weights, given)),
        vit(options.model, registry),
        buckets(registry, 1 << 20) {
    notes = import_weights(weights, buckets, /*seed=*/5);
  }

  /// Of each parameter what `file`, of the same names, has for it.
  NamedTensors of(const fs::path& file) const {
    const OpenedWeights opened = open_weights(file);
    WeightImport import(opened, registry);
    NamedTensors found;
    for (std::size_t i = 0; i < registry.parameters().size(); ++i) {
      found.tensors[registry.parameters()[i].name] = import.parameter(i);
    }
    return found;
  }

  std::unique_ptr<dist::Communicator> self =
      dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry{*self, at::kDouble, at::kCPU};
  OpenedWeights weights;
  Options options;
  model::Vit vit;
  dist::FlatBuckets buckets;
  std::vector<std::string> notes;
};

double largest(const at::Tensor& difference) {
  return difference.abs().max().item<double>();
}

void expect_answers(const fs::path& folder) {
  SCOPED_TRACE(folder.string());
  const NamedTensors expected =
      read_safetensors(folder / "expected.safetensors");
  const auto bare = expected.tensors.find("head.weight");
  Given given = given_in(folder);
  if (bare != expected.tensors.end()) {
    given["model.classes"] = std::to_string(bare->second.size(0));
  }
  Loaded loaded(folder / "weights", given);
  NamedTensors gradients = loaded.of(folder / "grads");
  EXPECT_EQ(loaded.notes.size(), bare == expected.tensors.end() ? 0u : 1u);
  if (bare != expected.tensors.end()) {
    auto all = testing::whole_tensors(loaded.buckets, &dist::Bucket::master);
    for (const std::string name : {"head.weight", "head.bias"}) {
      all.tensors[name] = expected.at(name).to(at::kDouble);
      gradients.tensors[name] = expected.at("grad." + name);
    }
    testing::set_weights(loaded.buckets, all);
  }
  const at::Tensor images = expected.at("images").to(at::kDouble).flatten(1);
  const double logits =
      largest(loaded.vit.logits(images) - expected.at("logits"));
  EXPECT_LT(logits, 1e-4);
  const at::Tensor target = expected.at("target").unsqueeze(1);
  loaded.vit.loss({images, target, {}}, 1 / static_cast<double>(images.size(0)))
      .backward();
  double squares = 0, worst = 0;
  for (const auto& [name, gradient] : gradients.tensors) {
    squares += gradient.to(at::kDouble).square().sum().item<double>();
  }
  for (const auto& p : loaded.registry.parameters()) {
    const at::Tensor theirs = gradients.at(p.name).to(at::kDouble);
    // Relative; of key biases alone, whose gradient is zero, to all together.
    const double norm = theirs.norm().item<double>();
    const double scale =
        norm > 1e-6 * std::sqrt(squares) ? norm : std::sqrt(squares);
    const double off = (p.value.grad() - theirs).norm().item<double>() / scale;
    EXPECT_LT(off, 1e-3) << p.name;
    worst = std::max(worst, off);
  }
  fmt::print("{}: logits off by {:.1e}, gradients by {:.1e} of their norm\n",
             folder.filename().string(),
             logits,
             worst);
}

TEST(VitWeights, GiveTheAnswersOfTimmAndTransformers) {
  int cases = 0;
  for (const auto& entry : fs::directory_iterator(cases_folder())) {
    expect_answers(entry.path());
    ++cases;
  }
  EXPECT_EQ(cases, 5);
}

TEST(VitWeights, TellTheModel) {
  const Loaded clip(stored("hf_clip") / "weights");
  const auto& c = clip.options.model;
  EXPECT_EQ(clip.options.family, "vit");
  EXPECT_TRUE(c.dense && c.bias && c.norm_pre);
  EXPECT_EQ(c.gelu, model::Gelu::quick);
  EXPECT_EQ(c.norm_epsilon, 1e-5);
  EXPECT_EQ(std::tuple(c.depth, c.width, c.heads, c.mlp.hidden_dim),
            std::tuple(2, 12, 3, 20));
  EXPECT_EQ(std::tuple(c.patch, c.image_size, c.channels), std::tuple(4, 8, 3));
  const Loaded dino(stored("hf_dino") / "weights");
  EXPECT_FALSE(dino.options.model.norm_pre);
  EXPECT_EQ(dino.options.model.gelu, model::Gelu::exact);
  EXPECT_EQ(dino.options.model.norm_epsilon, 1e-12);
  const Loaded timm(stored("timm_dino") / "weights", {{"model.heads", "3"}});
  EXPECT_EQ(timm.options.model.norm_epsilon, 1e-6);
  EXPECT_EQ(timm.options.model.classes, 5);
}

/// timm names its models in config.json.
TEST(VitWeights, TellHeadsByTimmsName) {
  const ScratchFolder folder;
  fs::copy_file(stored("timm_clip") / "weights/model.safetensors",
                folder.path() / "model.safetensors");
  const auto bare = open_weights(folder.path());
  ASSERT_EQ(bare.notes.size(), 1u);
  EXPECT_NE(bare.notes[0].find("no config.json"), std::string::npos);
  const auto name = [&](const std::string& architecture) {
    std::ofstream(folder.path() / "config.json")
        << R"({"architecture": ")" << architecture << R"("})";
    return Loaded(folder.path()).options.model;
  };
  EXPECT_EQ(name("vit_base_patch32_clip_224").heads, 12);
  EXPECT_EQ(name("vit_base_patch32_clip_224").gelu, model::Gelu::exact);
  EXPECT_EQ(name("vit_tiny_patch16_clip_quickgelu_224").heads, 3);
  EXPECT_EQ(name("vit_tiny_patch16_clip_quickgelu_224").gelu,
            model::Gelu::quick);
  expect_input_error([&] { name("vit_so400m_patch14"); }, {"--model.heads N"});
  std::ofstream(folder.path() / "config.json") << R"({"model_type": "swin"})";
  expect_input_error([&] { Loaded(folder.path()); },
                     {"config.json", "model_type = \"swin\"", "vit"});
}

TEST(VitWeights, GoThroughARunAndComeBackTheSame) {
  const ScratchFolder folder;
  const fs::path& out = folder.path();
  for (const std::string name : {"timm_clip", "timm_dino"}) {
    const fs::path from = stored(name) / "weights/model.safetensors";
    convert({.from = from,
             .to = out / name / "run",
             .given = given_in(stored(name))});
    convert({.from = out / name / "run", .to = out / name / "back"});
    const auto left = read_safetensors(from);
    const auto right = read_safetensors(out / name / "back/model.safetensors");
    ASSERT_EQ(left.tensors.size(), right.tensors.size());
    for (const auto& [tensor, value] : left.tensors) {
      EXPECT_TRUE(at::equal(value, right.at(tensor))) << tensor;
    }
  }
}

// The whole CLIPModel's file: what is not the ViT is left out.
TEST(VitWeights, AreFoundInsideOfAClipModel) {
  const ScratchFolder folder;
  NamedTensors whole;
  for (const auto& [name, value] :
       read_safetensors(stored("hf_clip") / "weights/model.safetensors")
           .tensors) {
    whole.tensors["vision_model." + name] = value;
  }
  whole.tensors["text_model.final_layer_norm.weight"] = at::ones({3});
  whole.tensors["visual_projection.weight"] = at::ones({4, 12});
  whole.tensors["logit_scale"] = at::ones({});
  const fs::path file = folder.path() / "clip.safetensors";
  write_safetensors(file, whole);
  std::ofstream(folder.path() / "config.json")
      << R"({"model_type": "clip", "vision_config": {"num_attention_heads": 3}})";
  const Loaded inside(file);
  const Loaded alone(stored("hf_clip") / "weights");
  const at::Tensor images = at::ones({2, 3 * 8 * 8}, at::kDouble);
  EXPECT_TRUE(at::equal(inside.vit.logits(images), alone.vit.logits(images)));
}

// A head of another kind or size begins as it would without weights, and the
// file's own is left.
TEST(VitWeights, TakeAnotherHead) {
  const fs::path file = stored("timm_clip") / "weights/model.safetensors";
  const Loaded same(file, given_in(stored("timm_clip")));
  EXPECT_TRUE(same.notes.empty());
  for (const Given& change :
       {Given{{"model.classes", "7"}},
        Given{{"model.head", "cp"},
              {"model.experts", "4"},
              {"model.rank", "3"}},
        Given{{"model.head", "high_rank"}, {"model.head_parameters", "40"}}}) {
    Given given = given_in(stored("timm_clip"));
    given.insert(change.begin(), change.end());
    const Loaded other(file, given);
    ASSERT_EQ(other.notes.size(), 1u);
    EXPECT_NE(other.notes[0].find("begins anew"), std::string::npos);
    const auto self = dist::make_self_communicator(at::kCPU);
    dist::ParameterRegistry registry(*self, at::kDouble, at::kCPU);
    const model::Vit fresh(other.options.model, registry);
    dist::FlatBuckets buckets(registry, 1 << 20);
    buckets.initialise(/*seed=*/5);
    for (const auto& p : other.registry.parameters()) {
      const auto& value = registry.at(p.name).value;
      if (p.name.starts_with("head.")) {
        EXPECT_TRUE(at::equal(p.value, value)) << p.name;
      } else {
        EXPECT_TRUE(at::equal(p.value, same.registry.at(p.name).value))
            << p.name;
      }
    }
    require_same_model(other.weights, other.options, "test");
  }
}

TEST(VitWeights, RefuseWhatDoesNotFitByName) {
  const ScratchFolder folder;
  const fs::path file = folder.path() / "vit.safetensors";
  const auto refused = [&](auto change,
                           std::initializer_list<std::string> parts) {
    NamedTensors tensors =
        read_safetensors(stored("timm_dino") / "weights/model.safetensors");
    change(tensors.tensors);
    write_safetensors(file, tensors);
    expect_input_error([&] { Loaded(file, {{"model.heads", "3"}}); }, parts);
  };
  refused([](auto& t) { t.erase("blocks.1.norm2.bias"); },
          {"vit.safetensors", "blocks.1.norm2.bias", "[12]"});
  refused([](auto& t) { t["norm.weight"] = at::ones({4}); },
          {"norm.weight", "[4]", "[12]"});
  refused([](auto& t) { t["blocks.0.ls1.gamma"] = at::ones({12}); },
          {"blocks.0.ls1.gamma", "no place"});
  refused(
      [](auto& t) {
        t["pos_embed"] = at::ones({1, 4, 12});
      },
      {"pos_embed", "4 places", "square"});
  const Loaded loaded(stored("timm_dino") / "weights", {{"model.heads", "3"}});
  Options other = loaded.options;
  other.model.width = 24;
  expect_input_error([&] { require_same_model(loaded.weights, other, "x"); },
                     {"x", "model.width is 12", "24"});
  const fs::path run = folder.path() / "run";
  convert({.from = stored("hf_clip") / "weights",
           .to = run,
           .given = {{"model.head", "cp"}, {"model.experts", "4"}}});
  expect_input_error([&] { convert({.from = run, .to = folder.path() / "t"}); },
                     {"timm", "head.gate.0", "model.head = linear"});
  expect_input_error(
      [&] {
        convert(
            {.from = run, .to = folder.path() / "t", .as = WeightFormat::hf});
      },
      {"--as hf", "vit"});
}

}  // namespace
}  // namespace mumoe::run

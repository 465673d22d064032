// Files of a module.
#include <gtest/gtest.h>
#include <torch/serialize.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "mumoe/module.h"
#include "mumoe/safetensors.h"
#include "tests/mumoe/module_fixture.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe {
namespace {

using at::Tensor;
using testing::expect_input_error;
using testing::input;
using testing::rich;
using testing::ScratchFolder;
using testing::trained;

std::vector<std::string> names(const torch::nn::Module& module) {
  std::vector<std::string> all = module.named_parameters().keys();
  for (const auto& name : module.named_buffers().keys()) all.push_back(name);
  std::ranges::sort(all);
  return all;
}

TEST(ModuleFile, ComesBackFromAFileWithItsEdits) {
  const ScratchFolder folder;
  const auto path = folder.path() / "block.safetensors";
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const Form form : testing::kForms) {
      BlockConfig c = rich(form);
      c.gate.activation = GateActivation::top_k;
      c.gate.top_k = 3;
      c.expert_bias = form != Form::cp;
      MuMoE module = trained(c);
      module->scale_expert(1, 2, 0.3);
      module->remove_expert(0, 4);
      module->to(type);
      module->save(path);
      MuMoE other = load_module(path);
      EXPECT_EQ(names(*other), names(*module));
      module->eval();
      other->eval();
      const Tensor x = input(c, type);
      EXPECT_EQ(other->forward(x).scalar_type(), type);
      EXPECT_TRUE(at::equal(other->forward(x), module->forward(x)));
      // Into a module that is there: the same.
      MuMoE there(c, 9);
      there->to(type);
      there->eval();
      there->keep_experts(0, {});
      there->load(path);
      EXPECT_TRUE(at::equal(there->forward(x), module->forward(x)));
    }
  }
}

TEST(ModuleFile, IsPartOfLibTorchsOwnFiles) {
  const ScratchFolder folder;
  const auto path = (folder.path() / "module.pt").string();
  MuMoE module = trained(rich());
  module->scale_expert(0, 3, 2);
  module->eval();
  torch::save(module, path);
  MuMoE other(rich(), 8);
  other->eval();
  torch::load(other, path);
  EXPECT_TRUE(
      at::equal(other->forward(input(rich())), module->forward(input(rich()))));
}

TEST(ModuleFile, TakesItsBlockOutOfACheckpoint) {
  const ScratchFolder folder;
  const auto path = folder.path() / "state.safetensors";
  const BlockConfig c = rich();
  const MuMoE module = trained(c);
  module->save(path);
  NamedTensors file = read_safetensors(path);
  NamedTensors checkpoint{.tensors = {{"master.wte", at::zeros({3})}},
                          .metadata = {{"format", "mumoe-checkpoint-1"}}};
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with("edits.")) continue;
    checkpoint.tensors["master.h.3.mlp." + name] = tensor;
    checkpoint.tensors["adam_m.h.3.mlp." + name] = tensor + 1;
  }
  write_safetensors(path, checkpoint);
  MuMoE other(c, 8);
  other->remove_expert(0, 0);
  other->load(path, "master.h.3.mlp.");
  other->eval();
  MuMoE first = module;
  first->eval();
  EXPECT_TRUE(at::equal(other->forward(input(c)), first->forward(input(c))));
  expect_input_error([&] { other->load(path, "master.h.4.mlp."); },
                     {path.string(), "master.h.4.mlp.gate.0"});
  expect_input_error([&] { load_module(path); }, {path.string(), "format"});
}

TEST(ModuleFile, RefusesAFileThatIsNotItsOwn) {
  const ScratchFolder folder;
  const auto path = folder.path() / "block.safetensors";
  const BlockConfig c = rich(Form::cp);
  trained(c, 1)->save(path);
  const NamedTensors good = read_safetensors(path);
  const std::string bytes = read_file(path);
  MuMoE module(c, 2);
  module->eval();
  const Tensor y = module->forward(input(c));
  const auto refused = [&](const NamedTensors& file,
                           std::initializer_list<std::string> parts) {
    write_safetensors(path, file);
    expect_input_error([&] { module->load(path); }, parts);
    expect_input_error([&] { load_module(path); }, parts);
    expect_input_error([&] { module->load(path); }, {path.string()});
    EXPECT_TRUE(at::equal(module->forward(input(c)), y)) << "refused, yet made";
  };
  const auto with = [&](const std::string& name, const Tensor& tensor) {
    NamedTensors file = good;
    file.tensors[name] = tensor;
    return file;
  };
  refused(with("layer1.output", at::zeros({9, 6})),
          {"layer1.output", "[9, 6]", "[9, 5]"});
  refused(with("gate.0", at::zeros({6, 5}, at::kLong)), {"gate.0", "Long"});
  refused(with("layer3.output", at::zeros({9, 6})), {"layer3.output"});
  for (const char* missing : {"layer2.input", "edits.1", "input_ln.weight"}) {
    NamedTensors file = good;
    file.tensors.erase(missing);
    refused(file, {missing});
  }
  for (const auto& [setting, value] :
       std::map<std::string, nlohmann::json>{{"form", "cpp"},
                                             {"experts", 5},
                                             {"ranks", {-1}},
                                             {"gate", "hard"},
                                             {"input_dim", 0},
                                             {"expert_bias", 1},
                                             {"of_later", 1}}) {
    NamedTensors file = good;
    auto config = nlohmann::json::parse(file.metadata.at("config"));
    config[setting] = value;
    file.metadata["config"] = config.dump();
    refused(file, {"config"});
  }
  NamedTensors file = good;
  file.metadata["config"] = "{";
  refused(file, {"config"});
  file.metadata.erase("config");
  refused(file, {"config"});

  write_file_atomically(path, bytes.substr(0, bytes.size() / 2));
  expect_input_error([&] { module->load(path); }, {path.string()});
  write_file_atomically(path, bytes);
  BlockConfig other = c;
  other.gate.activation = GateActivation::softmax;
  expect_input_error([&] { MuMoE(other)->load(path); },
                     {"gate = \"entmax15\", expected \"softmax\""});
  other = c;
  other.level_noise = 0.5;  // of the start alone
  MuMoE(other)->load(path);
  expect_input_error([&] { module->load(folder.path() / "none"); }, {"none"});
  expect_input_error([&] { module->save(folder.path() / "no" / "f"); }, {"no"});
}

}  // namespace
}  // namespace mumoe

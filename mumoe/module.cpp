#include "mumoe/module.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ostream>
#include <string_view>

#include "base/error.h"
#include "dist/self_communicator.h"
#include "dist/torch_text.h"
#include "mumoe/block_file.h"

namespace mumoe {
namespace {

using dist::Parameter;

/// What a module makes of the config that it is given.
BlockConfig completed(BlockConfig config) {
  require(config.sharding.region().size() == 1,
          "a module is of one process: expected a config without sharding");
  if (config.ranks.empty()) config = with_parameters(std::move(config));
  config.edits_registered = true;
  // There need not be a .grad, and torch::autograd::grad is as good.
  config.gradients_in_place = false;
  return config;
}

/// Registers `tensor` under a name with dots, in a module for each but the
/// last.
void register_by_name(torch::nn::Module& root, const Parameter& parameter) {
  torch::nn::Module* at = &root;
  std::string_view name = parameter.name;
  for (auto dot = name.find('.'); dot != name.npos; dot = name.find('.')) {
    const std::string part(name.substr(0, dot));
    const auto children = at->named_children();
    const auto* child = children.find(part);
    at = child != nullptr
             ? child->get()
             : at->register_module(part, std::make_shared<torch::nn::Module>())
                   .get();
    name.remove_prefix(dot + 1);
  }
  if (parameter.trained) {
    at->register_parameter(std::string(name), parameter.value);
  } else {
    at->register_buffer(std::string(name), parameter.value);
  }
}

}  // namespace

struct MuMoEImpl::State {
  explicit State(const BlockConfig& config)
      : self(dist::make_self_communicator(at::kCPU)),
        registry(*self, at::kFloat, at::kCPU),
        block(config, "", registry) {}

  const std::vector<Parameter>& parameters() const {
    return registry.parameters();
  }
  void initialise(std::uint64_t seed) const {
    const at::NoGradGuard no_grad;
    for (const Parameter& p : parameters()) {
      const at::Tensor values = at::empty(p.global_shape, at::kFloat);
      dist::initialise_slice(registry, p, seed, 0, values);
      p.value.copy_(values);
    }
    registry.set_given();
  }
  void assign(const BlockFile& file) const {
    const at::NoGradGuard no_grad;
    for (const Parameter& p : parameters()) {
      const at::Tensor* tensor = file.find(p);
      if (tensor != nullptr) {
        p.value.copy_(*tensor);
      } else {
        p.value.fill_(1);  // nothing is edited
      }
    }
  }

  std::unique_ptr<dist::Communicator> self;
  dist::ParameterRegistry registry;
  MuMoEBlock block;
};

MuMoEImpl::MuMoEImpl(BlockConfig config, std::uint64_t seed)
    : Cloneable("MuMoE"), given_(completed(std::move(config))), seed_(seed) {
  reset();
}

void MuMoEImpl::reset() {
  state_ = std::make_shared<State>(given_);
  for (const Parameter& p : state_->parameters()) register_by_name(*this, p);
  state_->initialise(seed_);
}

at::Tensor MuMoEImpl::forward(const at::Tensor& x) {
  return state_->block.forward(x);
}

std::vector<at::Tensor> MuMoEImpl::coefficients(const at::Tensor& x) const {
  return state_->block.coefficients(x);
}

Expert MuMoEImpl::expert(std::size_t layer,
                         const std::vector<std::int64_t>& indices) const {
  return state_->block.materialize(layer, indices);
}

void MuMoEImpl::scale_expert(std::size_t level,
                             std::int64_t expert,
                             double factor) {
  state_->block.scale_expert(level, expert, factor);
}

void MuMoEImpl::remove_expert(std::size_t level, std::int64_t expert) {
  state_->block.remove_expert(level, expert);
}

void MuMoEImpl::keep_experts(std::size_t level,
                             const std::vector<std::int64_t>& experts) {
  state_->block.keep_experts(level, experts);
}

void MuMoEImpl::clear_edits() {
  state_->block.clear_edits();
}

const BlockConfig& MuMoEImpl::config() const {
  return state_->block.config();
}

const MuMoEBlock& MuMoEImpl::block() const {
  return state_->block;
}

void MuMoEImpl::save(const std::filesystem::path& path) const {
  write_block(path, config(), state_->parameters());
}

void MuMoEImpl::load(const std::filesystem::path& path,
                     const std::string& prefix) {
  const BlockFile file(path, prefix);
  file.require_fits(config(), state_->parameters());
  state_->assign(file);
}

MuMoE load_module(const std::filesystem::path& path) {
  const BlockFile file(path);
  MuMoE module(file.config());
  module->to(file.dtype());
  module->load(path);
  return module;
}

std::shared_ptr<torch::nn::Module> MuMoEImpl::clone(
    const std::optional<torch::Device>& device) const {
  const at::NoGradGuard no_grad;
  auto copy = std::make_shared<MuMoEImpl>(given_, seed_);
  const auto& theirs = copy->state_->parameters();
  const auto& ours = state_->parameters();
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const at::Tensor& from = ours[i].value;
    at::Tensor to = theirs[i].value;
    to.set_data(from.detach().to(device.value_or(from.device()),
                                 from.scalar_type(),
                                 /*non_blocking=*/false,
                                 /*copy=*/true));
    to.requires_grad_(from.requires_grad());
  }
  copy->train(is_training());
  return copy;
}

void MuMoEImpl::train(bool on) {
  Cloneable::train(on);
  state_->block.set_training(on);
}

void MuMoEImpl::to(torch::Device device, torch::Dtype dtype, bool async) {
  move(device, dtype, async);
}

void MuMoEImpl::to(torch::Dtype dtype, bool async) {
  move({}, dtype, async);
}

void MuMoEImpl::to(torch::Device device, bool async) {
  move(device, {}, async);
}

void MuMoEImpl::move(std::optional<torch::Device> device,
                     std::optional<torch::Dtype> dtype,
                     bool async) {
  require(!dtype || is_block_dtype(*dtype),
          "a module of dtype {}: expected fp32, fp64 or bf16",
          dtype.value_or(at::kFloat));
  const at::NoGradGuard no_grad;
  for (const Parameter& p : state_->parameters()) {
    at::Tensor value = p.value;
    auto type = dtype.value_or(value.scalar_type());
    if (p.full_precision) type = dist::master_dtype(type);
    const auto moved = [&](const at::Tensor& t) {
      return t.detach().to(device.value_or(t.device()), type, async);
    };
    const at::Tensor grad = value.grad();
    value.set_data(moved(value));
    if (grad.defined()) value.mutable_grad() = moved(grad);
  }
}

void MuMoEImpl::pretty_print(std::ostream& stream) const {
  const BlockConfig& c = config();
  stream << fmt::format(
      "MuMoE({} -> {}{}, {} experts, {} of rank {}, {}, {} parameters)",
      c.input_dim,
      c.output_dim == 0 ? "" : fmt::format("{} -> ", c.hidden_dim),
      c.outputs(),
      fmt::join(c.experts, " x "),
      to_string(c.form),
      fmt::join(c.ranks, ", "),
      to_string(c.gate),
      MuMoEBlock::parameter_count(c));
}

}  // namespace mumoe

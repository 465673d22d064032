#include "mumoe/mixture_operands.h"

#include <ATen/ATen.h>

#include <utility>

#include "base/error.h"

namespace mumoe {

using Tensors = std::vector<at::Tensor>;

std::vector<std::int64_t> MixtureSettings::to_list() const {
  return {levels,
          norm,
          layers,
          form[0],
          form[1],
          bias[0],
          bias[1],
          gemm,
          support_only,
          recompute,
          in_place,
          sparse,
          plan,
          tp};
}

MixtureSettings MixtureSettings::from_list(const std::vector<std::int64_t>& v) {
  return {v[0],
          v[1],
          v[2],
          {v[3], v[4]},
          {v[5], v[6]},
          v[7],
          v[8],
          v[9],
          v[10],
          v[11],
          v[12],
          v[13]};
}

SparseLevels MixtureSettings::sparse_levels() const {
  SparseLevels list;
  for (int e = 0; e < levels; ++e) list.push_back((sparse >> e & 1) != 0);
  return list;
}

LayerSharding MixtureSettings::sharding(std::size_t layer) const {
  const Sharding whole{static_cast<Plan>(plan),
                       reinterpret_cast<dist::Communicator*>(tp)};
  return {layer_cut(whole.plan, layer, static_cast<std::size_t>(layers)),
          whole.region()};
}

Tensors TensorCursor::next(std::size_t count) {
  Tensors part;
  for (std::size_t i = 0; i < count; ++i) part.push_back(next());
  return part;
}

Tensors MixtureOperands::flatten() const {
  Tensors list = a;
  list.push_back(x);
  if (norm.weight.defined()) {
    list.insert(list.end(), {norm.weight, norm.bias});
  }
  for (const Factors& u : layers) {
    list.insert(list.end(), u.expert.begin(), u.expert.end());
    list.push_back(u.input);
    if (u.input_bias.defined()) list.push_back(u.input_bias);
    if (u.form == Form::tucker) list.push_back(u.core);
    list.push_back(u.output);
  }
  return list;
}

MixtureOperands MixtureOperands::read(TensorCursor& list,
                                      const MixtureSettings& settings) {
  MixtureOperands o;
  o.a = list.next(settings.levels);
  o.x = list.next();
  if (settings.norm != 0) {
    o.norm.weight = list.next();
    o.norm.bias = list.next();
  }
  for (int l = 0; l < settings.layers; ++l) {
    Factors u;
    u.form = static_cast<Form>(settings.form[l]);
    u.expert = list.next(settings.levels);
    u.input = list.next();
    if (settings.bias[l] != 0) u.input_bias = list.next();
    if (u.form == Form::tucker) u.core = list.next();
    u.output = list.next();
    o.layers.push_back(std::move(u));
  }
  return o;
}

void MixtureOperands::check() const {
  MUMOE_CHECK(layers.size() == 1 || layers.size() == 2);
  const auto dtype = layers[0].input.scalar_type();
  std::int64_t inputs = x.size(-1);
  for (const Factors& u : layers) {
    const LayerShape s = u.shape();
    MUMOE_CHECK(s.inputs == inputs,
                "input factor {}, expected {} inputs",
                u.input.sizes(),
                inputs);
    MUMOE_CHECK(a.size() == s.experts.size(),
                "{} levels of coefficients for {} levels of experts",
                a.size(),
                s.experts.size());
    for (std::size_t e = 0; e < a.size(); ++e) {
      MUMOE_CHECK(a[e].dim() == 2 && a[e].size(0) == x.size(0) &&
                      a[e].size(1) == s.experts[e] &&
                      a[e].scalar_type() == dtype,
                  "coefficients {}, expected {} tokens of {} experts in the "
                  "dtype of the factors",
                  a[e].sizes(),
                  x.size(0),
                  s.experts[e]);
    }
    inputs = s.outputs;
  }
  MUMOE_CHECK(x.dim() == 2 && norm.weight.defined() == norm.bias.defined());
}

}  // namespace mumoe

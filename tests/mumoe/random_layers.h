#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "base/random.h"
#include "mumoe/factors.h"
#include "mumoe/gate.h"

// Random layers of every form, and Equation 1 with the expert tensor written
// out, for the tests of this folder.

namespace mumoe::testing {

/// Normal numbers, fp64, the same for the same stream.
inline at::Tensor numbers(at::IntArrayRef shape, std::uint64_t stream) {
  const CounterRandom random(5, Purpose::test, stream);
  at::Tensor t = at::empty(shape, at::kDouble);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    t.data_ptr<double>()[i] = random.normal(i);
  }
  return t;
}

inline Factors random_factors(const LayerShape& s, std::uint64_t stream) {
  const std::size_t levels = s.experts.size();
  const bool ring = s.form == Form::tensor_ring || s.form == Form::tensor_train;
  const auto& r = s.ranks;
  Factors u;
  u.form = s.form;
  for (std::size_t e = 0; e < levels; ++e) {
    const std::int64_t n = s.experts[e];
    u.expert.push_back(
        ring ? numbers({n, r[e], r[e + 1]}, stream++)
             : numbers({n, s.form == Form::cp ? r[0] : r[e]}, stream++));
  }
  if (s.form == Form::cp) {
    u.input = numbers({s.inputs, r[0]}, stream++);
    u.output = numbers({s.outputs, r[0]}, stream++);
  } else if (ring) {
    u.input = numbers({s.inputs, r[levels], r[levels + 1]}, stream++);
    u.output = numbers({s.outputs, r[0], r[levels + 1]}, stream++);
  } else {
    u.input = numbers({s.inputs, r[levels]}, stream++);
    u.core = numbers(r, stream++);
    u.output = numbers({s.outputs, r[levels + 1]}, stream++);
  }
  if (s.bias) {
    auto shape = u.input.sizes().vec();
    shape.erase(shape.begin());
    u.input_bias = numbers(shape, stream++);
  }
  return u;
}

/// Uneven coefficients with many exact zeros, rows that sum to 1.
inline std::vector<at::Tensor> random_gates(
    const std::vector<std::int64_t>& experts,
    std::int64_t tokens,
    std::uint64_t stream) {
  std::vector<at::Tensor> a;
  for (const auto n : experts) {
    a.push_back(gate_coefficients(3 * numbers({tokens, n}, stream + a.size()),
                                  {.norm = GateNorm::none}));
  }
  return a;
}

/// All tensors of a layer.
inline std::vector<at::Tensor> tensors_of(const Factors& u) {
  std::vector<at::Tensor> all = u.expert;
  all.insert(all.end(), {u.input, u.output});
  if (u.input_bias.defined()) all.push_back(u.input_bias);
  if (u.core.defined()) all.push_back(u.core);
  return all;
}

/// The same layer in another dtype.
inline Factors converted(Factors u, at::ScalarType dtype) {
  for (auto& e : u.expert) e = e.to(dtype);
  for (at::Tensor* t : {&u.input, &u.input_bias, &u.core, &u.output}) {
    if (t->defined()) *t = t->to(dtype);
  }
  return u;
}

/// One entry W[n_1, …, n_E] of the expert tensor straight from the definition
/// of its form, [I + bias, O], without the code under test.
inline at::Tensor expert_by_definition(const Factors& u,
                                       const std::vector<std::int64_t>& n) {
  const at::Tensor input = u.input_bias.defined()
                               ? at::cat({u.input, u.input_bias.unsqueeze(0)})
                               : u.input;
  if (u.form == Form::cp) {
    at::Tensor row = at::ones({u.input.size(1)}, u.input.options());
    for (std::size_t e = 0; e < n.size(); ++e) row = row * u.expert[e][n[e]];
    return at::einsum("ir,r,or->io", {input, row, u.output});
  }
  if (u.form == Form::tucker) {
    at::Tensor core = u.core;
    for (std::size_t e = 0; e < n.size(); ++e) {
      core = at::tensordot(u.expert[e][n[e]], core, {0}, {0});
    }
    return at::einsum("ia,ab,ob->io", {input, core, u.output});
  }
  at::Tensor chain = u.expert[0][n[0]];
  for (std::size_t e = 1; e < n.size(); ++e) {
    chain = at::mm(chain, u.expert[e][n[e]]);
  }
  // tr(chain U_I[i] U_O[o]ᵀ)
  return at::einsum("ab,ibc,oac->io", {chain, input, u.output});
}

/// Calls `f` for the indices of every expert.
inline void each_expert(
    const std::vector<std::int64_t>& experts,
    const std::function<void(const std::vector<std::int64_t>&)>& f) {
  std::vector<std::int64_t> n(experts.size(), 0);
  while (true) {
    f(n);
    std::size_t e = n.size();
    while (e > 0 && ++n[e - 1] == experts[e - 1]) n[--e] = 0;
    if (e == 0) return;
  }
}

/// Equation 1, one expert after another.
inline at::Tensor mixture_by_definition(const std::vector<at::Tensor>& a,
                                        const at::Tensor& z,
                                        const Factors& u) {
  at::Tensor y = at::zeros({z.size(0), u.output.size(0)}, z.options());
  const at::Tensor with_one =
      u.input_bias.defined() ? at::cat({z, at::ones_like(z.narrow(1, 0, 1))}, 1)
                             : z;
  std::vector<std::int64_t> experts;
  for (const auto& level : a) experts.push_back(level.size(1));
  each_expert(experts, [&](const std::vector<std::int64_t>& n) {
    at::Tensor weight = at::ones({z.size(0), 1}, z.options());
    for (std::size_t e = 0; e < n.size(); ++e) {
      weight = weight * a[e].narrow(1, n[e], 1);
    }
    y += weight * at::mm(with_one, expert_by_definition(u, n));
  });
  return y;
}

}  // namespace mumoe::testing

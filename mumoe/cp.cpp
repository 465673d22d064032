// Shapes: T tokens, N experts (of one level), I inputs, O outputs, R rank.
//   a_TN, z_TI, P_TR = Π_e M_e with M_e = a_e U1_e, Q_TR = z U2 + b,
//   C_TR = P ∘ Q, y_TO = C U3ᵀ.
#include "mumoe/cp.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"

namespace mumoe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Tensors = std::vector<at::Tensor>;

/// What the forward pass of one layer leaves for its backward pass.
struct CpActivations {
  Tensors mixed;  // M_e [T, R] a level
  at::Tensor q;   // [T, R]
};

at::Tensor product(const Tensors& mixed) {
  at::Tensor p = mixed[0];
  for (std::size_t e = 1; e < mixed.size(); ++e) p = p * mixed[e];
  return p;
}

/// Π over the other levels, without dividing.
at::Tensor product_of_others(const Tensors& mixed, std::size_t level) {
  at::Tensor p;
  for (std::size_t e = 0; e < mixed.size(); ++e) {
    if (e != level) p = p.defined() ? p * mixed[e] : mixed[e];
  }
  return p;
}

at::Tensor forward_layer(const Tensors& a,
                         const at::Tensor& z,
                         const CpFactors& u,
                         CpActivations& kept) {
  for (std::size_t e = 0; e < a.size(); ++e) {
    kept.mixed.push_back(at::mm(a[e], u.expert[e]));
  }
  kept.q = u.input_bias.defined() ? at::addmm(u.input_bias, z, u.input)
                                  : at::mm(z, u.input);
  return at::mm(product(kept.mixed) * kept.q, u.output.t());
}

/// Gradients of one layer; `a` and `z` hold those of the inputs.
struct CpGradients {
  Tensors a;
  at::Tensor z;
  CpFactors u;
};

/// With dC = dY U3:  dU3 = dYᵀ C,  dP = dC∘Q,  dQ = dC∘P,  dU2 = zᵀ dQ,
/// db = Σ_t dQ,  dz = dQ U2ᵀ,  dM_e = dP ∘ Π_{f≠e} M_f,  dU1_e = a_eᵀ dM_e,
/// da_e = dM_e U1_eᵀ. `a_sum`, when not empty, is added to da.
CpGradients backward_layer(const Tensors& a,
                           const at::Tensor& z,
                           const CpFactors& u,
                           const CpActivations& kept,
                           const at::Tensor& dy,
                           const Tensors& a_sum,
                           bool z_wanted) {
  CpGradients d;
  const at::Tensor p = product(kept.mixed);
  d.u.output = at::mm(dy.t(), p * kept.q);
  const at::Tensor dc = at::mm(dy, u.output);
  const at::Tensor dp = dc * kept.q;
  const at::Tensor dq = dc.mul_(p);
  d.u.input = at::mm(z.t(), dq);
  if (u.input_bias.defined()) d.u.input_bias = dq.sum(0);
  if (z_wanted) d.z = at::mm(dq, u.input.t());
  for (std::size_t e = 0; e < a.size(); ++e) {
    const at::Tensor others = product_of_others(kept.mixed, e);
    const at::Tensor dm = others.defined() ? dp * others : dp;
    d.u.expert.push_back(at::mm(a[e].t(), dm));
    d.a.push_back(a_sum.empty() ? at::mm(dm, u.expert[e].t())
                                : at::addmm(a_sum[e], dm, u.expert[e].t()));
  }
  return d;
}

/// A list of tensors that is read or written from front to back.
class Cursor {
 public:
  explicit Cursor(variable_list list) : list_(std::move(list)) {}
  at::Tensor next() { return list_[at_++]; }
  Tensors next(std::size_t count) {
    Tensors part(list_.begin() + at_, list_.begin() + at_ + count);
    at_ += count;
    return part;
  }
  CpFactors next_factors(std::size_t levels, bool bias) {
    CpFactors u;
    u.expert = next(levels);
    u.input = next();
    if (bias) u.input_bias = next();
    u.output = next();
    return u;
  }

 private:
  variable_list list_;
  std::ptrdiff_t at_ = 0;
};

void append(variable_list& list, const CpFactors& u) {
  list.insert(list.end(), u.expert.begin(), u.expert.end());
  list.push_back(u.input);
  if (u.input_bias.defined()) list.push_back(u.input_bias);
  list.push_back(u.output);
}

void append(variable_list& list, const Tensors& tensors) {
  list.insert(list.end(), tensors.begin(), tensors.end());
}

// Arguments, gradients and saved tensors of both functions are flat lists in
// the order: a_e …, z, then the factors of each layer (U1_e …, U2, b, U3).
// Autograd takes no undefined tensors, so a missing b is left out.

struct CpLayer : torch::autograd::Function<CpLayer> {
  static at::Tensor forward(AutogradContext* context,
                            at::TensorList inputs,
                            std::int64_t levels,
                            bool bias) {
    at::AutoDispatchBelowADInplaceOrView guard;
    Cursor in(inputs.vec());
    const Tensors a = in.next(levels);
    const at::Tensor z = in.next();
    const CpFactors u = in.next_factors(levels, bias);
    CpActivations kept;
    const at::Tensor y = forward_layer(a, z, u, kept);
    variable_list saved = inputs.vec();
    append(saved, kept.mixed);
    saved.push_back(kept.q);
    context->save_for_backward(std::move(saved));
    context->saved_data["levels"] = levels;
    context->saved_data["bias"] = bias;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto levels = context->saved_data["levels"].toInt();
    Cursor saved(context->get_saved_variables());
    const Tensors a = saved.next(levels);
    const at::Tensor z = saved.next();
    const CpFactors u =
        saved.next_factors(levels, context->saved_data["bias"].toBool());
    const CpActivations kept{saved.next(levels), saved.next()};
    const CpGradients d = backward_layer(a,
                                         z,
                                         u,
                                         kept,
                                         grads[0].contiguous(),
                                         {},
                                         context->needs_input_grad(levels));
    variable_list out;
    append(out, d.a);
    out.push_back(d.z);
    append(out, d.u);
    out.resize(out.size() + 2);  // levels, bias
    return out;
  }
};

struct CpBlock : torch::autograd::Function<CpBlock> {
  static at::Tensor forward(AutogradContext* context,
                            at::TensorList inputs,
                            std::int64_t levels,
                            bool first_bias,
                            bool second_bias) {
    at::AutoDispatchBelowADInplaceOrView guard;
    Cursor in(inputs.vec());
    const Tensors a = in.next(levels);
    const at::Tensor z = in.next();
    const CpFactors first = in.next_factors(levels, first_bias);
    const CpFactors second = in.next_factors(levels, second_bias);
    CpActivations kept1, kept2;
    const at::Tensor pre = forward_layer(a, z, first, kept1);
    const at::Tensor y = forward_layer(a, at::gelu(pre), second, kept2);
    variable_list saved = inputs.vec();
    append(saved, kept1.mixed);
    append(saved, kept2.mixed);
    saved.insert(saved.end(), {kept1.q, kept2.q, pre});
    context->save_for_backward(std::move(saved));
    context->saved_data["levels"] = levels;
    context->saved_data["first_bias"] = first_bias;
    context->saved_data["second_bias"] = second_bias;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto levels = context->saved_data["levels"].toInt();
    Cursor saved(context->get_saved_variables());
    const Tensors a = saved.next(levels);
    const at::Tensor z = saved.next();
    const CpFactors first =
        saved.next_factors(levels, context->saved_data["first_bias"].toBool());
    const CpFactors second =
        saved.next_factors(levels, context->saved_data["second_bias"].toBool());
    CpActivations kept1{saved.next(levels), {}};
    CpActivations kept2{saved.next(levels), {}};
    kept1.q = saved.next();
    kept2.q = saved.next();
    const at::Tensor pre = saved.next();

    const CpGradients d2 = backward_layer(a,
                                          at::gelu(pre),
                                          second,
                                          kept2,
                                          grads[0].contiguous(),
                                          {},
                                          /*z_wanted=*/true);
    const at::Tensor dpre = at::gelu_backward(d2.z, pre);
    const CpGradients d1 = backward_layer(a,
                                          z,
                                          first,
                                          kept1,
                                          dpre,
                                          d2.a,
                                          context->needs_input_grad(levels));
    variable_list out;
    append(out, d1.a);
    out.push_back(d1.z);
    append(out, d1.u);
    append(out, d2.u);
    out.resize(out.size() + 3);  // levels, first_bias, second_bias
    return out;
  }
};

void check_layer(const Tensors& a, std::int64_t inputs, const CpFactors& u) {
  MUMOE_CHECK(!a.empty() && a.size() == u.expert.size(),
              a.size(),
              " levels of coefficients for ",
              u.expert.size(),
              " levels of experts");
  const std::int64_t rank = u.output.size(1);
  for (std::size_t e = 0; e < a.size(); ++e) {
    MUMOE_CHECK(a[e].dim() == 2 && a[e].size(1) == u.expert[e].size(0),
                "level ",
                e,
                ": coefficients ",
                a[e].sizes(),
                " for expert factor ",
                u.expert[e].sizes());
    MUMOE_CHECK(u.expert[e].size(1) == rank,
                "expert factor ",
                u.expert[e].sizes(),
                ", expected rank ",
                rank);
  }
  MUMOE_CHECK(u.input.size(0) == inputs && u.input.size(1) == rank,
              "input factor ",
              u.input.sizes(),
              ", expected [",
              inputs,
              ", ",
              rank,
              "]");
  MUMOE_CHECK(!u.input_bias.defined() || u.input_bias.size(0) == rank);
}

}  // namespace

at::Tensor cp_layer(const std::vector<at::Tensor>& coefficients,
                    const at::Tensor& z,
                    const CpFactors& factors) {
  check_layer(coefficients, z.size(1), factors);
  variable_list inputs = coefficients;
  inputs.push_back(z);
  append(inputs, factors);
  return CpLayer::apply(at::TensorList(inputs),
                        static_cast<std::int64_t>(coefficients.size()),
                        factors.input_bias.defined());
}

at::Tensor cp_block(const std::vector<at::Tensor>& coefficients,
                    const at::Tensor& z,
                    const CpFactors& first,
                    const CpFactors& second) {
  check_layer(coefficients, z.size(1), first);
  check_layer(coefficients, first.output.size(0), second);
  variable_list inputs = coefficients;
  inputs.push_back(z);
  append(inputs, first);
  append(inputs, second);
  return CpBlock::apply(at::TensorList(inputs),
                        static_cast<std::int64_t>(coefficients.size()),
                        first.input_bias.defined(),
                        second.input_bias.defined());
}

}  // namespace mumoe

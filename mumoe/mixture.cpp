// Shapes: T tokens, I inputs, H hidden, O outputs.
#include "mumoe/mixture.h"

#include <ATen/ATen.h>

#include <tuple>
#include <utility>

#include "base/error.h"
#include "dist/node_state.h"
#include "mumoe/gelu.h"
#include "mumoe/layer.h"

namespace mumoe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Tensors = std::vector<at::Tensor>;

constexpr double kEps = 1e-5;  // of the input norm

/// LN(x) in the factors' dtype, and the norm's statistics.
struct Normalised {
  at::Tensor z;
  at::Tensor mean;
  at::Tensor rstd;
};

/// What LibTorch's norm takes: x and weights of one dtype, the wider of the
/// two, or bf16 with fp32 weights.
struct NormOperands {
  at::Tensor x, weight, bias;

  NormOperands(const at::Tensor& given, const InputNorm& norm)
      : x(given), weight(norm.weight), bias(norm.bias) {
    const auto from = x.scalar_type(), to = weight.scalar_type();
    if (from == at::kBFloat16 && to == at::kFloat) return;
    const auto wide = c10::promoteTypes(from, to);
    for (at::Tensor* t : {&x, &weight, &bias}) *t = t->to(wide);
  }
};

Normalised normalise(const at::Tensor& x,
                     const InputNorm& norm,
                     at::ScalarType dtype) {
  if (!norm.weight.defined()) return {x.to(dtype), {}, {}};
  const NormOperands in(x, norm);
  auto [z, mean, rstd] =
      at::native_layer_norm(in.x, {x.size(-1)}, in.weight, in.bias, kEps);
  return {z.to(dtype), mean, rstd};
}

/// What the node is a function of; in another value of this type, the
/// gradients.
struct Operands {
  Tensors a;
  at::Tensor x;
  InputNorm norm;
  std::vector<Factors> layers;

  template <class F>
  void each(F f) {
    for (at::Tensor& level : a) f(level);
    for (at::Tensor* t : {&x, &norm.weight, &norm.bias}) f(*t);
    for (Factors& u : layers) u.each(f);
  }
  at::ScalarType dtype() const { return layers[0].input.scalar_type(); }
  void check() const;
};

void Operands::check() const {
  MUMOE_CHECK(layers.size() == 1 || layers.size() == 2);
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
                      a[e].scalar_type() == dtype(),
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

/// One call of the node: what it is given, and what forward leaves in it.
struct Call {
  Operands in;
  MixtureOptions options;
  SparseLevels sparse = {};

  at::Tensor mean = {}, rstd = {};  ///< Of the norm.
  LayerKept kept[2] = {};
  at::Tensor hidden = {};  ///< GELU's input, unless it is formed again.

  template <class F>
  void each(F f) {
    in.each(f);
    for (at::Tensor* t : {&mean, &rstd, &hidden}) f(*t);
    for (LayerKept& k : kept) k.each(f);
  }
  bool two_layers() const { return in.layers.size() == 2; }
  LayerOperands layer(std::size_t l) const {
    const Sharding& whole = options.sharding;
    return {.coefficients = in.a,
            .sparse = sparse,
            .factors = in.layers[l],
            .sharding = {layer_cut(whole.plan, l, in.layers.size()),
                         whole.region()},
            .library = options.gemm,
            .support_only = options.support_only,
            .gradients_in_place = options.gradients_in_place};
  }
  /// GELU's input.
  at::Tensor hidden_again() {
    LayerKept& first = kept[0];
    return layer_expand(layer(0),
                        first.combined.defined()
                            ? first.combined
                            : layer_combine(layer(0), first));
  }
};

/// dx and the norm's, from dz; none of them where that is undefined.
void norm_backward(const Call& call,
                   const at::Tensor& dz,
                   bool x_wanted,
                   bool norm_wanted,
                   Operands& d) {
  if (!dz.defined()) return;
  const Operands& in = call.in;
  if (!in.norm.weight.defined()) {
    d.x = dz.to(in.x.scalar_type());
    return;
  }
  const NormOperands norm(in.x, in.norm);
  std::tie(d.x, d.norm.weight, d.norm.bias) =
      at::native_layer_norm_backward(dz.to(norm.x.scalar_type()),
                                     norm.x,
                                     {in.x.size(-1)},
                                     call.mean,
                                     call.rstd,
                                     norm.weight,
                                     norm.bias,
                                     {x_wanted, norm_wanted, norm_wanted});
  if (d.x.defined()) d.x = d.x.to(in.x.scalar_type());
  for (at::Tensor* t : {&d.norm.weight, &d.norm.bias}) {
    if (t->defined()) *t = t->to(in.norm.weight.scalar_type());
  }
}

struct Mixture : torch::autograd::Function<Mixture> {
  /// `inputs`: the defined tensors of `call.in`, for autograd.
  static at::Tensor forward(AutogradContext* context,
                            at::TensorList /*inputs*/,
                            Call call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Operands& in = call.in;
    Normalised n = normalise(in.x, in.norm, in.dtype());
    call.mean = n.mean;
    call.rstd = n.rstd;
    call.kept[0] = layer_project(call.layer(0), n.z);
    n.z.reset();
    at::Tensor y =
        layer_expand(call.layer(0), layer_combine(call.layer(0), call.kept[0]));
    if (call.two_layers()) {
      at::Tensor h = gelu_forward(y);
      call.kept[1] = layer_project(call.layer(1), h);
      h.reset();
      if (!call.options.recompute) call.hidden = y;
      y = layer_expand(call.layer(1),
                       layer_combine(call.layer(1), call.kept[1]));
    }
    dist::keep(*context, std::move(call));
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    require(!at::GradMode::is_enabled(),
            "mixture: a gradient of its gradient was asked for; it is "
            "differentiable once");
    auto call = dist::kept<Call>(*context);
    const Operands& in = call.in;
    const std::size_t x = in.a.size();  // its place among the inputs
    const bool x_wanted = context->needs_input_grad(x);
    const bool norm_wanted =
        in.norm.weight.defined() &&
        (context->needs_input_grad(x + 1) || context->needs_input_grad(x + 2));
    Operands d;
    d.layers.resize(in.layers.size());

    at::Tensor dy = grads[0].contiguous();
    if (call.two_layers()) {
      const at::Tensor pre =
          call.options.recompute ? call.hidden_again() : call.hidden;
      const InputGradient second = layer_backward(call.layer(1),
                                                  call.kept[1],
                                                  dy,
                                                  {.last = false},
                                                  d.layers[1],
                                                  d.a);
      dy = second.input;
      const at::Tensor h = gelu_backward_(dy, pre);
      input_factor_backward(call.layer(1), h, second.projection, d.layers[1]);
    }
    const InputGradient first =
        layer_backward(call.layer(0),
                       call.kept[0],
                       dy,
                       {.input_wanted = x_wanted || norm_wanted},
                       d.layers[0],
                       d.a);
    input_factor_backward(call.layer(0),
                          normalise(in.x, in.norm, in.dtype()).z,
                          first.projection,
                          d.layers[0]);
    norm_backward(call, first.input, x_wanted, norm_wanted, d);
    return gradients(call.in, d);
  }

 private:
  /// One for each input, and none for the call.
  static variable_list gradients(Operands& in, Operands& d) {
    std::vector<bool> given;
    in.each([&](at::Tensor& t) { given.push_back(t.defined()); });
    variable_list out;
    std::size_t i = 0;
    d.each([&](at::Tensor& t) {
      if (given[i++]) out.push_back(t);
    });
    out.emplace_back();
    return out;
  }
};

}  // namespace

at::Tensor mixture(const Tensors& coefficients,
                   const at::Tensor& x,
                   const InputNorm& norm,
                   const std::vector<Factors>& layers,
                   const MixtureOptions& options) {
  Call call{
      .in = {.a = {}, .x = x.contiguous(), .norm = norm, .layers = layers},
      .options = options};
  for (const auto& a : coefficients) call.in.a.push_back(a.contiguous());
  call.in.check();
  // Forming a hidden layer that is a sum over ranks again would repeat it.
  call.options.recompute =
      options.recompute && !call.layer(0).sharding.rank_cut();
  call.sparse = choose_mixing(call.in.a, options.mixing, options.report);
  call.options.report = nullptr;
  // Autograd takes no undefined tensors.
  Tensors inputs;
  call.in.each([&](at::Tensor& t) {
    if (t.defined()) inputs.push_back(t);
  });
  return Mixture::apply(at::TensorList(inputs), std::move(call));
}

}  // namespace mumoe

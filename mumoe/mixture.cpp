// Shapes: T tokens, I inputs, H hidden, O outputs.
#include "mumoe/mixture.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "mumoe/gelu.h"
#include "mumoe/layer.h"

namespace mumoe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Tensors = std::vector<at::Tensor>;

constexpr double kEps = 1e-5;  // of the input norm

/// What the node has to know besides tensors, as a list of integers, which
/// autograd can keep.
struct Plan {
  std::int64_t levels;
  std::int64_t norm;
  std::int64_t layers;
  std::int64_t form[2];
  std::int64_t bias[2];
  std::int64_t gemm;
  std::int64_t support_only;
  std::int64_t recompute;
  std::int64_t in_place;
  std::int64_t sparse;  // bit e: level e

  std::vector<std::int64_t> to_list() const {
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
            sparse};
  }
  static Plan from_list(const std::vector<std::int64_t>& v) {
    return {v[0],
            v[1],
            v[2],
            {v[3], v[4]},
            {v[5], v[6]},
            v[7],
            v[8],
            v[9],
            v[10],
            v[11]};
  }
  GemmLibrary library() const { return static_cast<GemmLibrary>(gemm); }
  SparseLevels sparse_levels() const {
    SparseLevels list;
    for (int e = 0; e < levels; ++e) list.push_back((sparse >> e & 1) != 0);
    return list;
  }
};

// Arguments, gradients and saved tensors are flat lists in the order of this
// struct; autograd takes no undefined tensors, so what is missing is left out.
struct Operands {
  Tensors a;
  at::Tensor x;
  InputNorm norm;
  std::vector<Factors> layers;
};

void append(variable_list& list, const Factors& u) {
  list.insert(list.end(), u.expert.begin(), u.expert.end());
  list.push_back(u.input);
  if (u.input_bias.defined()) list.push_back(u.input_bias);
  if (u.form == Form::tucker) list.push_back(u.core);
  list.push_back(u.output);
}

variable_list flatten(const Operands& o) {
  variable_list list(o.a.begin(), o.a.end());
  list.push_back(o.x);
  if (o.norm.weight.defined()) {
    list.insert(list.end(), {o.norm.weight, o.norm.bias});
  }
  for (const Factors& u : o.layers) append(list, u);
  return list;
}

/// A list of tensors that is read from front to back.
class Cursor {
 public:
  explicit Cursor(at::TensorList list) : list_(list) {}
  const at::Tensor& next() { return list_[at_++]; }
  Tensors next(std::size_t count) {
    Tensors part;
    for (std::size_t i = 0; i < count; ++i) part.push_back(next());
    return part;
  }

 private:
  at::TensorList list_;
  std::size_t at_ = 0;
};

Operands read_operands(Cursor& list, const Plan& plan) {
  Operands o;
  o.a = list.next(plan.levels);
  o.x = list.next();
  if (plan.norm != 0) {
    o.norm.weight = list.next();
    o.norm.bias = list.next();
  }
  for (int l = 0; l < plan.layers; ++l) {
    Factors u;
    u.form = static_cast<Form>(plan.form[l]);
    u.expert = list.next(plan.levels);
    u.input = list.next();
    if (plan.bias[l] != 0) u.input_bias = list.next();
    if (u.form == Form::tucker) u.core = list.next();
    u.output = list.next();
    o.layers.push_back(std::move(u));
  }
  return o;
}

/// LN(x) in the factors' dtype, and the norm's statistics.
struct Normalised {
  at::Tensor z;
  at::Tensor mean;
  at::Tensor rstd;
};

Normalised normalise(const at::Tensor& x,
                     const InputNorm& norm,
                     at::ScalarType dtype) {
  if (!norm.weight.defined()) return {x.to(dtype), {}, {}};
  auto [z, mean, rstd] =
      at::native_layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, kEps);
  return {z.to(dtype), mean, rstd};
}

void keep(variable_list& saved, const LayerKept& kept) {
  saved.push_back(kept.projection);
  if (kept.inner.defined()) saved.push_back(kept.inner);
}

LayerKept read_kept(Cursor& saved, Form form) {
  LayerKept kept;
  kept.projection = saved.next();
  if (form == Form::tucker) kept.inner = saved.next();
  return kept;
}

struct Mixture : torch::autograd::Function<Mixture> {
  static at::Tensor forward(AutogradContext* context,
                            at::TensorList inputs,
                            const std::vector<std::int64_t>& list) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Plan plan = Plan::from_list(list);
    const GemmLibrary library = plan.library();
    const SparseLevels sparse = plan.sparse_levels();
    Cursor cursor(inputs);
    const Operands o = read_operands(cursor, plan);
    variable_list saved = inputs.vec();

    Normalised n = normalise(o.x, o.norm, o.layers[0].input.scalar_type());
    if (n.mean.defined()) saved.insert(saved.end(), {n.mean, n.rstd});
    const LayerKept first = layer_project(n.z, o.layers[0], library);
    n.z.reset();
    keep(saved, first);
    at::Tensor y = layer_output(o.a, sparse, o.layers[0], first, library);
    if (plan.layers == 2) {
      at::Tensor h = gelu_forward(y);
      const LayerKept second = layer_project(h, o.layers[1], library);
      h.reset();
      keep(saved, second);
      if (plan.recompute == 0) saved.push_back(y);
      y = layer_output(o.a, sparse, o.layers[1], second, library);
    }
    context->save_for_backward(std::move(saved));
    context->saved_data["plan"] = list;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    MUMOE_CHECK(!at::GradMode::is_enabled(), "mixture: differentiable once");
    const Plan plan =
        Plan::from_list(context->saved_data["plan"].toIntVector());
    const GemmLibrary library = plan.library();
    const SparseLevels sparse = plan.sparse_levels();
    const variable_list list = context->get_saved_variables();
    Cursor saved(list);
    const Operands o = read_operands(saved, plan);
    const auto dtype = o.layers[0].input.scalar_type();
    at::Tensor mean, rstd;
    if (plan.norm != 0) {
      mean = saved.next();
      rstd = saved.next();
    }
    const LayerKept first = read_kept(saved, o.layers[0].form);
    std::vector<FactorGradients> factors(plan.layers);
    for (auto& f : factors) f.in_place = plan.in_place != 0;

    at::Tensor dy = grads[0].contiguous();
    Tensors da;
    if (plan.layers == 2) {
      const LayerKept second = read_kept(saved, o.layers[1].form);
      const at::Tensor pre =
          plan.recompute == 0
              ? saved.next()
              : layer_output(o.a, sparse, o.layers[0], first, library);
      at::Tensor dpre;
      const auto restore = [&](const at::Tensor& dh) {
        dpre = dh;
        return gelu_backward_(dh, pre);
      };
      da = layer_backward(o.a,
                          sparse,
                          o.layers[1],
                          second,
                          dy,
                          plan.support_only != 0,
                          /*input_wanted=*/true,
                          restore,
                          library,
                          factors[1]);
      dy = dpre;
    }
    const bool x_wanted = context->needs_input_grad(plan.levels);
    const bool norm_wanted =
        plan.norm != 0 && (context->needs_input_grad(plan.levels + 1) ||
                           context->needs_input_grad(plan.levels + 2));
    at::Tensor dz;
    const auto restore = [&](const at::Tensor& grad) {
      dz = grad;
      return normalise(o.x, o.norm, dtype).z;
    };
    const Tensors da_first = layer_backward(o.a,
                                            sparse,
                                            o.layers[0],
                                            first,
                                            dy,
                                            plan.support_only != 0,
                                            x_wanted || norm_wanted,
                                            restore,
                                            library,
                                            factors[0]);
    for (std::size_t e = 0; e < da.size(); ++e) da[e].add_(da_first[e]);
    if (da.empty()) da = da_first;

    variable_list out(da.begin(), da.end());
    if (dz.defined()) dz = dz.to(o.x.scalar_type());
    if (plan.norm == 0) {
      out.push_back(dz);
    } else if (!dz.defined()) {
      out.resize(out.size() + 3);
    } else {
      const auto [dx, dweight, dbias] =
          at::native_layer_norm_backward(dz,
                                         o.x,
                                         {o.x.size(-1)},
                                         mean,
                                         rstd,
                                         o.norm.weight,
                                         o.norm.bias,
                                         {x_wanted, norm_wanted, norm_wanted});
      out.insert(out.end(), {dx, dweight, dbias});
    }
    for (int l = 0; l < plan.layers; ++l) {
      append_gradients(out, o.layers[l], factors[l].returned);
    }
    out.emplace_back();  // the plan
    return out;
  }

 private:
  static void append_gradients(variable_list& out,
                               const Factors& u,
                               const Factors& d) {
    out.insert(out.end(), d.expert.begin(), d.expert.end());
    out.push_back(d.input);
    if (u.input_bias.defined()) out.push_back(d.input_bias);
    if (u.form == Form::tucker) out.push_back(d.core);
    out.push_back(d.output);
  }
};

void check(const Tensors& a, const at::Tensor& x, const Operands& o) {
  MUMOE_CHECK(o.layers.size() == 1 || o.layers.size() == 2);
  const auto dtype = o.layers[0].input.scalar_type();
  std::int64_t inputs = x.size(-1);
  for (const Factors& u : o.layers) {
    const LayerShape s = u.shape();
    MUMOE_CHECK(s.inputs == inputs,
                "input factor ",
                u.input.sizes(),
                ", expected ",
                inputs,
                " inputs");
    MUMOE_CHECK(a.size() == s.experts.size(),
                a.size(),
                " levels of coefficients for ",
                s.experts.size(),
                " levels of experts");
    for (std::size_t e = 0; e < a.size(); ++e) {
      MUMOE_CHECK(a[e].dim() == 2 && a[e].size(0) == x.size(0) &&
                      a[e].size(1) == s.experts[e] &&
                      a[e].scalar_type() == dtype,
                  "coefficients ",
                  a[e].sizes(),
                  ", expected ",
                  x.size(0),
                  " tokens of ",
                  s.experts[e],
                  " experts in the dtype of the factors");
    }
    inputs = s.outputs;
  }
  MUMOE_CHECK(x.dim() == 2 && o.norm.weight.defined() == o.norm.bias.defined());
}

}  // namespace

at::Tensor mixture(const Tensors& coefficients,
                   const at::Tensor& x,
                   const InputNorm& norm,
                   const std::vector<Factors>& layers,
                   const MixtureOptions& options) {
  Operands o{.a = {}, .x = x.contiguous(), .norm = norm, .layers = layers};
  for (const auto& a : coefficients) o.a.push_back(a.contiguous());
  check(o.a, o.x, o);
  Plan plan{.levels = static_cast<std::int64_t>(coefficients.size()),
            .norm = norm.weight.defined(),
            .layers = static_cast<std::int64_t>(layers.size()),
            .form = {},
            .bias = {},
            .gemm = static_cast<std::int64_t>(options.gemm),
            .support_only = options.support_only,
            .recompute = options.recompute,
            .in_place = options.gradients_in_place,
            .sparse = 0};
  for (std::size_t l = 0; l < layers.size(); ++l) {
    plan.form[l] = static_cast<std::int64_t>(layers[l].form);
    plan.bias[l] = layers[l].input_bias.defined();
  }
  const SparseLevels sparse =
      choose_mixing(o.a, options.mixing, options.report);
  for (std::size_t e = 0; e < sparse.size(); ++e) {
    plan.sparse |= static_cast<std::int64_t>(sparse[e]) << e;
  }
  return Mixture::apply(at::TensorList(flatten(o)), plan.to_list());
}

}  // namespace mumoe

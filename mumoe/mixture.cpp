// Shapes: T tokens, I inputs, H hidden, O outputs.
#include "mumoe/mixture.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "mumoe/gelu.h"
#include "mumoe/layer.h"
#include "mumoe/mixture_operands.h"

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

Normalised normalise(const at::Tensor& x,
                     const InputNorm& norm,
                     at::ScalarType dtype) {
  if (!norm.weight.defined()) return {x.to(dtype), {}, {}};
  auto [z, mean, rstd] =
      at::native_layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, kEps);
  return {z.to(dtype), mean, rstd};
}

void keep(variable_list& saved,
          const LayerKept& kept,
          const LayerSharding& sharding) {
  saved.push_back(kept.projection);
  if (kept.inner.defined()) saved.push_back(kept.inner);
  if (sharding.keeps_combined()) saved.push_back(kept.combined);
}

LayerKept read_kept(TensorCursor& saved,
                    Form form,
                    const LayerSharding& sharding) {
  LayerKept kept;
  kept.projection = saved.next();
  if (form == Form::tucker) kept.inner = saved.next();
  if (sharding.keeps_combined()) kept.combined = saved.next();
  return kept;
}

/// The layers of one call, ready to compute.
std::vector<LayerOperands> layers_of(const MixtureOperands& o,
                                     const SparseLevels& sparse,
                                     const MixtureSettings& settings) {
  std::vector<LayerOperands> layers;
  for (std::size_t l = 0; l < o.layers.size(); ++l) {
    layers.push_back({.coefficients = o.a,
                      .sparse = sparse,
                      .factors = o.layers[l],
                      .sharding = settings.sharding(l),
                      .library = settings.library(),
                      .support_only = settings.support_only != 0});
  }
  return layers;
}

struct Mixture : torch::autograd::Function<Mixture> {
  static at::Tensor forward(AutogradContext* context,
                            at::TensorList inputs,
                            const std::vector<std::int64_t>& list) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto settings = MixtureSettings::from_list(list);
    const SparseLevels sparse = settings.sparse_levels();
    TensorCursor cursor(inputs);
    const auto o = MixtureOperands::read(cursor, settings);
    const auto layers = layers_of(o, sparse, settings);
    variable_list saved = inputs.vec();

    Normalised n = normalise(o.x, o.norm, o.layers[0].input.scalar_type());
    if (n.mean.defined()) saved.insert(saved.end(), {n.mean, n.rstd});
    LayerKept first = layer_project(layers[0], n.z);
    n.z.reset();
    at::Tensor y = layer_expand(layers[0], layer_combine(layers[0], first));
    keep(saved, first, layers[0].sharding);
    if (settings.layers == 2) {
      at::Tensor h = gelu_forward(y);
      LayerKept second = layer_project(layers[1], h);
      h.reset();
      if (settings.recompute == 0) saved.push_back(y);
      y = layer_expand(layers[1], layer_combine(layers[1], second));
      keep(saved, second, layers[1].sharding);
    }
    context->save_for_backward(std::move(saved));
    context->saved_data["settings"] = list;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    MUMOE_CHECK(!at::GradMode::is_enabled(), "mixture: differentiable once");
    const auto settings = MixtureSettings::from_list(
        context->saved_data["settings"].toIntVector());
    const SparseLevels sparse = settings.sparse_levels();
    const variable_list list = context->get_saved_variables();
    TensorCursor saved(list);
    const auto o = MixtureOperands::read(saved, settings);
    const auto layers = layers_of(o, sparse, settings);
    Normalised n;
    if (settings.norm != 0) {
      n.mean = saved.next();
      n.rstd = saved.next();
    }
    LayerKept first = read_kept(saved, o.layers[0].form, layers[0].sharding);
    std::vector<FactorGradients> factors(settings.layers);
    for (auto& f : factors) f.in_place = settings.in_place != 0;

    at::Tensor dy = grads[0].contiguous();
    Tensors da;
    if (settings.layers == 2) {
      const at::Tensor pre = settings.recompute == 0
                                 ? saved.next()
                                 : hidden_again(layers[0], first);
      const LayerKept second =
          read_kept(saved, o.layers[1].form, layers[1].sharding);
      at::Tensor dpre;
      const RestoreInput restore = [&](const at::Tensor& dh) {
        dpre = dh;
        return gelu_backward_(dh, pre);
      };
      layer_backward(layers[1],
                     second,
                     dy,
                     {.last = false, .restore = restore},
                     factors[1],
                     da);
      dy = dpre;
    }
    const bool x_wanted = context->needs_input_grad(settings.levels);
    const bool norm_wanted =
        settings.norm != 0 && (context->needs_input_grad(settings.levels + 1) ||
                               context->needs_input_grad(settings.levels + 2));
    at::Tensor dz;
    const RestoreInput restore = [&](const at::Tensor& grad) {
      dz = grad;
      return normalise(o.x, o.norm, o.layers[0].input.scalar_type()).z;
    };
    layer_backward(
        layers[0],
        first,
        dy,
        {.input_wanted = x_wanted || norm_wanted, .restore = restore},
        factors[0],
        da);

    variable_list out(da.begin(), da.end());
    append_input_gradients(out, o, n, dz, x_wanted, norm_wanted);
    for (int l = 0; l < settings.layers; ++l) {
      append_gradients(out, o.layers[l], factors[l].returned);
    }
    out.emplace_back();  // the settings
    return out;
  }

 private:
  static at::Tensor hidden_again(const LayerOperands& layer, LayerKept& kept) {
    return layer_expand(
        layer,
        kept.combined.defined() ? kept.combined : layer_combine(layer, kept));
  }

  static void append_input_gradients(variable_list& out,
                                     const MixtureOperands& o,
                                     const Normalised& n,
                                     at::Tensor dz,
                                     bool x_wanted,
                                     bool norm_wanted) {
    if (dz.defined()) dz = dz.to(o.x.scalar_type());
    if (!o.norm.weight.defined()) {
      out.push_back(dz);
      return;
    }
    if (!dz.defined()) {
      out.resize(out.size() + 3);
      return;
    }
    const auto [dx, dweight, dbias] =
        at::native_layer_norm_backward(dz,
                                       o.x,
                                       {o.x.size(-1)},
                                       n.mean,
                                       n.rstd,
                                       o.norm.weight,
                                       o.norm.bias,
                                       {x_wanted, norm_wanted, norm_wanted});
    out.insert(out.end(), {dx, dweight, dbias});
  }

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

}  // namespace

at::Tensor mixture(const Tensors& coefficients,
                   const at::Tensor& x,
                   const InputNorm& norm,
                   const std::vector<Factors>& layers,
                   const MixtureOptions& options) {
  MixtureOperands o{.a = {},
                    .x = x.contiguous(),
                    .norm = norm,
                    .layers = layers};
  for (const auto& a : coefficients) o.a.push_back(a.contiguous());
  o.check();
  MixtureSettings settings;
  settings.levels = static_cast<std::int64_t>(coefficients.size());
  settings.norm = norm.weight.defined();
  settings.layers = static_cast<std::int64_t>(layers.size());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    settings.form[l] = static_cast<std::int64_t>(layers[l].form);
    settings.bias[l] = layers[l].input_bias.defined();
  }
  settings.gemm = static_cast<std::int64_t>(options.gemm);
  settings.support_only = options.support_only;
  settings.in_place = options.gradients_in_place;
  settings.plan = static_cast<std::int64_t>(options.sharding.plan);
  settings.tp = reinterpret_cast<std::int64_t>(options.sharding.tp);
  // Forming a hidden layer that is a sum over ranks again would repeat it.
  settings.recompute = options.recompute && !settings.sharding(0).rank_cut();
  const SparseLevels sparse =
      choose_mixing(o.a, options.mixing, options.report);
  for (std::size_t e = 0; e < sparse.size(); ++e) {
    settings.sparse |= static_cast<std::int64_t>(sparse[e]) << e;
  }
  return Mixture::apply(at::TensorList(o.flatten()), settings.to_list());
}

}  // namespace mumoe

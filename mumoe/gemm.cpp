#include "mumoe/gemm.h"

#include <ATen/ATen.h>

#include "base/cpu.h"
#include "base/error.h"
#include "dist/node_state.h"
#include "dist/params/gradient_slot.h"
#include "dist/torch_text.h"
#include "mumoe/kernels/kernel_watch.h"

namespace at::native {
/// LibTorch's wrapper of oneDNN's matrix product: result = beta · result +
/// alpha · mat1 · mat2, in fp32 as well. It is exported but in no header; weak,
/// so that a LibTorch without it still links.
[[gnu::weak]] void mkldnn_matmul(const Tensor& mat1,
                                 const Tensor& mat2,
                                 const Tensor& result,
                                 float beta,
                                 float alpha);
}  // namespace at::native

namespace mumoe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Multiply-accumulates below which oneDNN's set-up would show.
constexpr std::int64_t kSmall = 1 << 17;

/// Whether LibTorch has the product and takes this CPU for it: it refuses those
/// without AVX-512, in fp32 as well.
bool has_onednn() {
  static const bool found = [] {
    if (at::native::mkldnn_matmul == nullptr) return false;
    const at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor one = at::ones({2, 2});
    try {
      at::native::mkldnn_matmul(one, one, at::empty({2, 2}), 0.0F, 1.0F);
    } catch (const c10::Error&) {
      return false;
    }
    return true;
  }();
  return found;
}

bool plain_rows(const at::Tensor& m) {
  return m.stride(1) == 1 && m.stride(0) >= m.size(1);
}

/// Row-major or a transposed row-major matrix: what both libraries take as it
/// is.
at::Tensor plain(const at::Tensor& m) {
  const bool rows = plain_rows(m);
  const bool columns = m.stride(0) == 1 && m.stride(1) >= m.size(0);
  return rows || columns ? m : m.contiguous();
}

bool by_onednn(const at::Tensor& a, const at::Tensor& b, GemmLibrary library) {
  return library == GemmLibrary::onednn && a.scalar_type() == at::kFloat &&
         a.is_cpu() && a.size(0) > 1 && a.size(1) > 1 && b.size(1) > 1 &&
         a.numel() * b.size(1) >= kSmall;
}

/// Tells `kernels::kernel_watch` of a product for as long as it takes.
class Watched {
 public:
  Watched(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b)
      : watch_(kernels::kernel_watch) {
    if (watch_ != nullptr) watch_->product(out, a, b);
  }
  ~Watched() {
    if (watch_ != nullptr) watch_->product_ended();
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

 private:
  kernels::KernelWatch* watch_;
};

struct Product {
  at::Tensor x, weight;
  bool bias;
  GemmLibrary library;

  template <class F>
  void each(F f) {
    f(x);
    f(weight);
  }
};

struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& x,
                            const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias,
                            GemmLibrary library) {
    at::AutoDispatchBelowADInplaceOrView guard;
    dist::keep(*context, Product{x, weight, bias.has_value(), library});
    auto shape = x.sizes().vec();
    const at::Tensor weight_OI = weight.view({-1, shape.back()});
    shape.back() = weight_OI.size(0);
    at::Tensor y =
        mm(x.reshape({-1, weight_OI.size(1)}), weight_OI.t(), library);
    if (bias.has_value()) y.add_(*bias);
    return y.view(shape);
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    require(!at::GradMode::is_enabled(),
            "linear: a gradient of its gradient was asked for; it is "
            "differentiable once");
    const auto [input, weight, bias, library] = dist::kept<Product>(*context);
    const std::int64_t inputs = input.size(-1);
    const at::Tensor weight_OI = weight.view({-1, inputs});
    const at::Tensor x = input.reshape({-1, inputs});
    const at::Tensor dy = grads[0].reshape({-1, weight_OI.size(0)});
    at::Tensor dx, dweight, dbias;
    if (context->needs_input_grad(0)) {
      dx = mm(dy, weight_OI, library).view(input.sizes());
    }
    if (context->needs_input_grad(1)) {
      dweight = product_gradient(weight, dy.t(), x, library);
    }
    if (bias && context->needs_input_grad(2)) dbias = dy.sum(0);
    return {dx, dweight, dbias, {}};
  }
};

}  // namespace

std::string_view to_string(GemmLibrary library) {
  return library == GemmLibrary::mkl ? "mkl" : "onednn";
}

bool offers(GemmLibrary library) {
  return library == GemmLibrary::mkl || has_onednn();
}

GemmLibrary preferred_gemm_library() {
  const bool amd = cpu_vendor() == "AuthenticAMD";
  return amd && has_onednn() ? GemmLibrary::onednn : GemmLibrary::mkl;
}

void keep_fp32_sums() {
  static const bool told = [] {
    at::globalContext().setAllowBF16ReductionCuBLAS(false);
    return true;
  }();
  static_cast<void>(told);
}

void mm_into(const at::Tensor& out,
             const at::Tensor& a,
             const at::Tensor& b,
             bool accumulate,
             GemmLibrary library) {
  MUMOE_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0) &&
                  out.dim() == 2 && out.size(0) == a.size(0) &&
                  out.size(1) == b.size(1) &&
                  (out.is_contiguous() ||
                   (kernels::like_gpu(out.device()) && plain_rows(out))),
              "product of {} and {} into {}",
              a.sizes(),
              b.sizes(),
              out.sizes());
  const Watched watched(out, a, b);
  if (out.is_meta()) return;
  if (by_onednn(a, b, library)) {
    MUMOE_CHECK(has_onednn(), "this LibTorch has no oneDNN product");
    at::native::mkldnn_matmul(plain(a),
                              plain(b),
                              out,
                              accumulate ? 1.0F : 0.0F,
                              1.0F);
    return;
  }
  if (out.is_cuda()) keep_fp32_sums();
  at::Tensor target = out;
  if (out.scalar_type() != a.scalar_type()) {
    MUMOE_CHECK(out.is_cuda() && out.scalar_type() == at::kFloat,
                "a product of {} into {} on {}",
                a.scalar_type(),
                out.scalar_type(),
                out.device());
    if (accumulate) {
      at::addmm_out(target, out, a, b, at::kFloat);
    } else {
      at::mm_out(target, a, b, at::kFloat);
    }
  } else if (accumulate) {
    at::addmm_out(target, out, a, b);
  } else {
    at::mm_out(target, a, b);
  }
}

at::Tensor mm(const at::Tensor& a, const at::Tensor& b, GemmLibrary library) {
  const at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  mm_into(out, a, b, false, library);
  return out;
}

at::Tensor product_gradient(const at::Tensor& weight,
                            const at::Tensor& a,
                            const at::Tensor& b,
                            GemmLibrary library) {
  const dist::GradientSlot slot(weight, /*in_place=*/false);
  mm_into(slot.target().view({a.size(0), b.size(1)}),
          a,
          b,
          slot.accumulate(),
          library);
  return slot.finish();
}

at::Tensor linear(const at::Tensor& x,
                  const at::Tensor& weight,
                  const at::Tensor& bias,
                  GemmLibrary library) {
  const auto optional_bias =
      bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  return Linear::apply(x, weight, optional_bias, library);
}

}  // namespace mumoe

// Shapes: T tokens, C = 768 width, H = 3072, N = 256 experts, R = 556 (rows of
// 560 where ranks are padded), V = 50304, S = T / 4 tokens of a chunk of the
// head.
#include "launch/kernel_cases.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "model/kernels/cross_entropy.h"
#include "mumoe/gemm_rate.h"
#include "mumoe/kernels/combine.h"
#include "mumoe/kernels/gate.h"
#include "mumoe/kernels/gelu.h"
#include "mumoe/kernels/norm.h"
#include "mumoe/kernels/on_device.h"
#include "train/kernels/adamw.h"

namespace mumoe::launch {
namespace {

using kernels::pointer;

constexpr std::int64_t kWidth = 768, kHidden = 3072, kExperts = 256;
constexpr std::int64_t kRank = 560, kOddRank = 556, kVocabulary = 50304;
constexpr std::int64_t kHeads = 12, kContext = kCaseContext;

/// Makes the cases of element type E, which products and kernels have in
/// memory.
template <class E>
class Cases {
 public:
  using T = kernels::Compute<E>;

  Cases(std::int64_t tokens, at::Device device)
      : tokens_(tokens), device_(device) {}

  std::vector<KernelCase> make() {
    norm();
    gate();
    combine();
    gelu();
    cross_entropy();
    adamw();
    attention();
    products();
    return std::move(cases_);
  }

 private:
  static constexpr at::ScalarType kDtype =
      sizeof(E) == 2 ? at::kBFloat16 : at::kFloat;

  at::Tensor draw(std::int64_t rows, std::int64_t columns) const {
    return random_operand(rows, columns, kDtype, device_);
  }
  at::Tensor draw_wide(std::int64_t rows, std::int64_t columns) const {
    return random_operand(rows, columns, at::kFloat, device_);
  }
  void* stream() const { return kernels::stream_of(device_); }
  template <template <class> class K, class... Es>
  const K<E>& kernel(const kernels::Table<K, Es...>& table) const {
    return kernels::row_for<E>(table, device_);
  }
  /// `values` of type E a token, and `wide` ones that are computed with.
  double bytes(double values, double wide = 0) const {
    return static_cast<double>(tokens_) *
           (values * sizeof(E) + wide * sizeof(T));
  }
  void add(std::string name,
           double bytes,
           double flops,
           std::function<void()> run) {
    cases_.push_back({std::move(name), bytes, flops, std::move(run)});
  }

  // x and y of the residual stream, rounded as the products take it.
  void norm() {
    const at::Tensor x = draw_wide(tokens_, kWidth), y = draw(tokens_, kWidth);
    const at::Tensor weight = draw_wide(1, kWidth);
    const at::Tensor sum = at::empty_like(x), z = at::empty_like(y);
    const at::Tensor mean = at::empty({tokens_}, x.options());
    const at::Tensor rstd = at::empty_like(mean);
    add("norm forward", bytes(2 * kWidth, 2 * kWidth), 0, [=, this] {
      kernels::NormForward<E> n;
      n.x = pointer<T>(x);
      n.addend = pointer<E>(y);
      n.weight = pointer<T>(weight);
      n.rows = tokens_;
      n.width = kWidth;
      n.sum = pointer<T>(sum);
      n.result = pointer<E>(z);
      n.mean = pointer<T>(mean);
      n.rstd = pointer<T>(rstd);
      kernel(kernels::norm_kernels).forward(stream(), n);
    });
    const at::Tensor dx = at::empty_like(x), dy = at::empty_like(y);
    const at::Tensor dw = at::empty_like(weight);
    const at::Tensor partial =
        at::empty({kernels::norm_partial_sums(tokens_, kWidth)}, x.options());
    add("norm backward", bytes(2 * kWidth, 3 * kWidth), 0, [=, this] {
      kernels::NormBackward<E> n;
      n.sum = pointer<T>(sum);
      n.mean = pointer<T>(mean);
      n.rstd = pointer<T>(rstd);
      n.weight = pointer<T>(weight);
      n.grad_result = pointer<E>(z);
      n.grad_sum = pointer<T>(x);
      n.rows = tokens_;
      n.width = kWidth;
      n.grad_x = pointer<T>(dx);
      n.grad_addend = pointer<E>(dy);
      n.grad_weight = pointer<T>(dw);
      n.partial = pointer<T>(partial);
      kernel(kernels::norm_kernels).backward(stream(), n);
    });
  }

  void gate() {
    const at::Tensor logits = draw(tokens_, kExperts);
    const at::Tensor da = draw(tokens_, kExperts);
    const at::Tensor dl = at::empty_like(logits);
    coefficients_ = at::empty_like(logits);
    const at::Tensor a = coefficients_;
    add("gate forward", bytes(2 * kExperts), 0, [=, this] {
      kernel(kernels::gate_kernels)
          .forward(stream(),
                   pointer<E>(logits),
                   pointer<E>(a),
                   tokens_,
                   kExperts,
                   kernels::RowNorm::layer);
    });
    cases_.back().run();
    add("gate backward", bytes(4 * kExperts), 0, [=, this] {
      kernel(kernels::gate_kernels)
          .backward(stream(),
                    pointer<E>(logits),
                    pointer<E>(a),
                    pointer<E>(da),
                    pointer<E>(dl),
                    tokens_,
                    kExperts,
                    kernels::RowNorm::layer);
    });
  }

  // CP: q and m, mixed by a product or read row by row from the experts that
  // are active: at random logits those of a run that has learnt.
  void combine() {
    kernels::CombineShape shape;
    shape.experts[0] = kExperts;
    shape.mixed[0] = kRank;
    shape.columns = kRank;
    const at::Tensor a = coefficients_, u = draw(kExperts, kRank);
    const at::Tensor q = draw(tokens_, kRank), m = draw(tokens_, kRank);
    const at::Tensor c = at::empty_like(q);
    const auto forward = [=, this](bool dense) {
      kernels::CombineForward<E> x;
      x.coefficients[0] = pointer<E>(a);
      x.expert[0] = pointer<E>(u);
      if (dense) x.mixed[0] = pointer<E>(m);
      x.projection = pointer<E>(q);
      x.result = pointer<E>(c);
      kernel(kernels::combine_kernels).forward(stream(), shape, x, 0, tokens_);
    };
    add("combine forward", bytes(3 * kRank), 0, [=] { forward(true); });
    add("combine forward, sparse", bytes(2 * kRank + kExperts), 0, [=] {
      forward(false);
    });
    const at::Tensor dc = draw(tokens_, kRank);
    const at::Tensor dq = at::empty_like(q), dm = at::empty_like(q);
    add("combine backward", bytes(6 * kRank), 0, [=, this] {
      kernels::CombineBackward<E> x;
      x.coefficients[0] = pointer<E>(a);
      x.expert[0] = pointer<E>(u);
      x.mixed[0] = pointer<E>(m);
      x.projection = pointer<E>(q);
      x.grad_result = pointer<E>(dc);
      x.result = pointer<E>(c);
      x.grad_projection = pointer<E>(dq);
      x.grad_mixed[0] = pointer<E>(dm);
      kernel(kernels::combine_kernels).backward(stream(), shape, x, 0, tokens_);
    });
  }

  void gelu() {
    const at::Tensor x = draw(tokens_, kHidden), dy = draw(tokens_, kHidden);
    const at::Tensor y = at::empty_like(x), dx = at::empty_like(x);
    add("gelu forward", bytes(2 * kHidden), 0, [=, this] {
      kernel(kernels::gelu_kernels)
          .forward(stream(), pointer<E>(x), pointer<E>(y), x.numel());
    });
    add("gelu backward", bytes(4 * kHidden), 0, [=, this] {
      kernel(kernels::gelu_kernels)
          .backward(stream(),
                    pointer<E>(x),
                    pointer<E>(dy),
                    pointer<E>(dx),
                    pointer<E>(y),
                    x.numel());
    });
  }

  // In place: every pass takes the gradient of the one before for logits.
  void cross_entropy() {
    const std::int64_t rows = chunk();
    const at::Tensor logits = draw(rows, kVocabulary);
    const at::Tensor targets =
        at::arange(rows, at::TensorOptions(at::kLong).device(device_));
    const at::Tensor statistics =
        at::empty({rows, 2}, at::TensorOptions(at::kDouble).device(device_));
    add("cross-entropy", bytes(2 * kVocabulary) / 4, 0, [=, this] {
      model::LogitRows<E> x;
      x.logits = pointer<E>(logits);
      x.targets = pointer<std::int64_t>(targets);
      x.rows = rows;
      x.columns = x.stride = kVocabulary;
      kernel(model::cross_entropy_kernels)
          .statistics_and_gradient(stream(), x, pointer<double>(statistics), 1);
    });
  }

  void adamw() {
    const std::int64_t rows = tokens_;
    const at::Tensor master = draw_wide(rows, kContext);
    const at::Tensor grad = draw_wide(rows, kContext);
    const at::Tensor first = at::zeros_like(master);
    const at::Tensor second = at::zeros_like(master);
    const at::Tensor compute =
        at::empty_like(master, master.options().dtype(at::kBFloat16));
    train::AdamWScalars scalars;
    scalars.lr = 1e-4;
    scalars.beta1 = 0.9;
    scalars.beta2 = 0.95;
    scalars.eps = 1e-8;
    const auto constants = train::adamw_constants<float>(scalars);
    add("adamw", 30.0 * static_cast<double>(master.numel()), 0, [=, this] {
      kernels::row_for<float>(train::adamw_kernels, device_)
          .update(stream(),
                  constants,
                  pointer<float>(master),
                  pointer<float>(grad),
                  pointer<float>(first),
                  pointer<float>(second),
                  pointer<kernels::Bf16>(compute),
                  master.numel());
    });
  }

  void attention() {
    const std::int64_t context = std::min(kContext, tokens_);
    const std::int64_t windows = tokens_ / context;
    const auto heads = [&] {
      return draw(windows * context, kWidth)
          .view({windows, context, kHeads, kWidth / kHeads})
          .transpose(1, 2)
          .detach()
          .requires_grad_(true);
    };
    const at::Tensor q = heads(), k = heads(), v = heads();
    const at::Tensor dy = heads().detach();
    const auto forward = [=] {
      return at::scaled_dot_product_attention(q, k, v, {}, 0.0, true);
    };
    // Of all pairs of positions, half; two products forward, five backward.
    const double pair = static_cast<double>(windows * context * context) *
                        static_cast<double>(kWidth);
    add("attention forward", bytes(4 * kWidth), 2 * pair, [=] {
      const at::NoGradGuard no_grad;
      forward();
    });
    const at::Tensor y = forward();
    add("attention backward", bytes(8 * kWidth), 5 * pair, [=] {
      torch::autograd::grad({y}, {q, k, v}, {dy}, /*retain_graph=*/true);
    });
  }

  void products() {
    product("product qkv", tokens_, kWidth, 3 * kWidth);
    weight_gradient("product qkv, dW", kWidth, 3 * kWidth);
    product("product q", tokens_, kWidth, kRank);
    product("product q, rank 556", tokens_, kWidth, kOddRank);
    product("product m", tokens_, kExperts, kRank);
    product("product y", tokens_, kRank, kHidden);
    weight_gradient("product y, dW", kRank, kHidden);
    product("product head", chunk(), kWidth, kVocabulary);
  }

  void product(const std::string& name,
               std::int64_t m,
               std::int64_t k,
               std::int64_t n) {
    const at::Tensor a = draw(m, k), b = draw(k, n);
    const at::Tensor out = at::empty({m, n}, a.options());
    add(name,
        static_cast<double>(m * k + k * n + m * n) * sizeof(E),
        flops(m, k, n),
        [=] { mm_into(out, a, b, false, preferred_gemm_library()); });
  }

  /// xᵀ dy [k, n] of all tokens, added to fp32.
  void weight_gradient(const std::string& name,
                       std::int64_t k,
                       std::int64_t n) {
    const at::Tensor x = draw(tokens_, k), dy = draw(tokens_, n);
    const at::Tensor out = at::zeros({k, n}, x.options().dtype(at::kFloat));
    add(name,
        bytes(static_cast<double>(k + n)) + 8.0 * static_cast<double>(k * n),
        flops(tokens_, k, n),
        [=] { mm_into(out, x.t(), dy, true, preferred_gemm_library()); });
  }

  static double flops(std::int64_t m, std::int64_t k, std::int64_t n) {
    return Product{m, k, n}.flops() / 3;
  }
  std::int64_t chunk() const { return tokens_ / 4; }

  std::int64_t tokens_;
  at::Device device_;
  at::Tensor coefficients_;
  std::vector<KernelCase> cases_;
};

/// The cases keep what makes them: they ask it for kernels and the stream.
template <class E>
std::vector<KernelCase> made(std::int64_t tokens, at::Device device) {
  const auto maker = std::make_shared<Cases<E>>(tokens, device);
  std::vector<KernelCase> cases = maker->make();
  for (KernelCase& one : cases) {
    one.run = [maker, run = std::move(one.run)] { run(); };
  }
  return cases;
}

}  // namespace

std::vector<KernelCase> kernel_cases(std::int64_t tokens,
                                     at::ScalarType dtype,
                                     at::Device device) {
  if (dtype == at::kBFloat16) return made<kernels::Bf16>(tokens, device);
  return made<float>(tokens, device);
}

}  // namespace mumoe::launch

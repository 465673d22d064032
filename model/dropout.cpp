// A row's origin is a number from which those of its elements follow: element c
// is dropped by the bits of mix(origin + c g). The origins of a sample's rows
// follow in the same way from its key, so that of element i of a sample it is
// mix(key + i g), SplitMix64 (Steele et al., "Fast splittable pseudorandom
// number generators", OOPSLA 2014), however its elements are cut into rows.
#include "model/dropout.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <type_traits>

#include "base/error.h"
#include "base/purposes.h"
#include "mumoe/kernels/kernel_watch.h"

namespace mumoe::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15u;
constexpr std::uint64_t kFirst = 0xbf58476d1ce4e5b9u;
constexpr std::uint64_t kSecond = 0x94d049bb133111ebu;

std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * kFirst;
  z = (z ^ (z >> 27)) * kSecond;
  return z ^ (z >> 31);
}

std::int64_t as_signed(std::uint64_t bits) {
  return static_cast<std::int64_t>(bits);
}

/// z >> bits of an unsigned number.
at::Tensor shifted(const at::Tensor& z, std::int64_t bits) {
  return at::bitwise_right_shift(z, bits).bitwise_and_(
      (std::int64_t{1} << (64 - bits)) - 1);
}

/// The same of every element of z (int64).
at::Tensor mixed(at::Tensor z) {
  z = z.bitwise_xor(shifted(z, 30)).mul_(as_signed(kFirst));
  z = z.bitwise_xor(shifted(z, 27)).mul_(as_signed(kSecond));
  return z.bitwise_xor(shifted(z, 31));
}

/// Elements are kept whose upper 32 bits reach it.
std::uint32_t threshold(double p) {
  return static_cast<std::uint32_t>(std::llround(p * 0x1p32));
}

template <class Number>
void drop_rows(const Number* x,
               const std::int64_t* origins,
               std::int64_t rows,
               std::int64_t columns,
               double p,
               Number* y) {
  using Wide =
      std::conditional_t<std::is_same_v<Number, double>, double, float>;
  const auto scale = static_cast<Wide>(1 / (1 - p));
  const std::uint32_t least = threshold(p);
  const std::int64_t grain = std::max<std::int64_t>(1, 32768 / columns);
  at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const auto origin = static_cast<std::uint64_t>(origins[r]);
      for (std::int64_t c = 0; c < columns; ++c) {
        const std::uint64_t bits =
            mixed(origin + static_cast<std::uint64_t>(c) * kStep);
        const Wide kept = (bits >> 32) >= least ? scale : Wide{0};
        y[r * columns + c] =
            static_cast<Number>(static_cast<Wide>(x[r * columns + c]) * kept);
      }
    }
  });
}

/// x [rows, columns] with what `origins` [rows] say dropped.
at::Tensor dropped(const at::Tensor& x_any,
                   const at::Tensor& origins,
                   double p) {
  const at::Tensor x = x_any.contiguous();
  const std::int64_t rows = x.size(0), columns = x.size(1);
  if (!kernels::like_gpu(x.device())) {
    const at::Tensor y = at::empty_like(x);
    if (x.is_meta()) return y;
    AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x.scalar_type(), "drop", [&] {
      drop_rows(x.const_data_ptr<scalar_t>(),
                origins.const_data_ptr<std::int64_t>(),
                rows,
                columns,
                p,
                y.mutable_data_ptr<scalar_t>());
    });
    return y;
  }
  const at::Tensor steps =
      at::arange(columns, origins.options()).mul_(as_signed(kStep));
  const at::Tensor kept = shifted(mixed(origins.unsqueeze(1) + steps), 32)
                              .ge_(static_cast<std::int64_t>(threshold(p)));
  return (x * (1 / (1 - p))).mul_(kept);
}

struct Drop : torch::autograd::Function<Drop> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& x,
                            const at::Tensor& origins,
                            double p) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({origins});
    context->saved_data["p"] = p;
    return dropped(x, origins, p);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const at::Tensor origins = context->get_saved_variables()[0];
    return {dropped(grads[0], origins, context->saved_data["p"].toDouble()),
            {},
            {}};
  }
};

}  // namespace

Dropout::Dropout(double p,
                 std::uint64_t seed,
                 const at::Tensor& ids,
                 std::int64_t length,
                 const dist::Slice& rows)
    : p_(p), seed_(seed), ids_(ids), length_(length), rows_(rows) {}

at::Tensor Dropout::keys(DropPlace place, std::size_t layer) const {
  const CounterRandom random(seed_,
                             kDropout,
                             static_cast<std::uint64_t>(layer) << 8 |
                                 static_cast<std::uint32_t>(place));
  const auto bits = random.bits(0);
  const std::uint64_t key = std::uint64_t{bits[1]} << 32 | bits[0];
  return mixed(ids_.mul(as_signed(kStep)).bitwise_xor(as_signed(key)));
}

at::Tensor Dropout::of_rows(const at::Tensor& x_NC,
                            DropPlace place,
                            std::size_t layer) const {
  if (!drops()) return x_NC;
  MUMOE_CHECK(x_NC.size(0) == rows_.count);
  const std::uint64_t columns = static_cast<std::uint64_t>(x_NC.size(1));
  const at::Tensor rows =
      at::arange(rows_.begin, rows_.begin + rows_.count, ids_.options());
  const at::Tensor samples = rows.div(length_, "floor");
  const at::Tensor origins =
      keys(place, layer)
          .index_select(0, samples)
          .add_(rows.remainder(length_).mul_(as_signed(columns * kStep)));
  return Drop::apply(x_NC, origins, p_);
}

at::Tensor Dropout::of_probabilities(const at::Tensor& x_BHTT,
                                     std::size_t layer,
                                     std::int64_t first_head) const {
  if (!drops()) return x_BHTT;
  const std::int64_t heads = x_BHTT.size(1), length = x_BHTT.size(2);
  const at::Tensor rows_HT =
      at::arange(first_head * length,
                 (first_head + heads) * length,
                 ids_.options())
          .mul_(as_signed(static_cast<std::uint64_t>(length) * kStep));
  const at::Tensor origins =
      keys(DropPlace::probabilities, layer).unsqueeze(1) + rows_HT;
  return Drop::apply(x_BHTT.reshape({-1, length}), origins.flatten(), p_)
      .view(x_BHTT.sizes());
}

}  // namespace mumoe::model

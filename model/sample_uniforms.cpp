#include "model/sample_uniforms.h"

#include <ATen/ATen.h>

#include <array>

// Philox4x32-10 as in base/random.h, words of 32 bits in int64.

namespace mumoe::model {
namespace {

using at::Tensor;

constexpr std::int64_t kWord = 0xffffffff;

/// The words of a product of two: of 64 bits, the last ones as they wrap.
struct Words {
  Tensor low, high;
};
Words product(const Tensor& a, std::int64_t b) {
  const Tensor all = a * b;
  return {all.bitwise_and(kWord),
          all.bitwise_right_shift(32).bitwise_and(kWord)};
}

std::int64_t word(std::uint64_t value, int shift) {
  return static_cast<std::int64_t>(value >> shift & 0xffffffffu);
}

}  // namespace

Tensor sample_uniforms(std::uint64_t seed,
                       Purpose purpose,
                       std::int64_t streams,
                       const Tensor& ids) {
  const std::int64_t samples = ids.size(0);
  const auto all = [&](const Tensor& t) {
    return t.expand({streams, samples}).contiguous();
  };
  const Tensor stream_S1 = at::arange(streams, ids.options()).unsqueeze(1);
  std::array<Tensor, 4> c = {
      all(ids.bitwise_and(kWord)),
      all(ids.bitwise_right_shift(32).bitwise_and(kWord)),
      all(stream_S1),
      at::full({streams, samples},
               word(static_cast<std::uint64_t>(purpose) << 24, 0),
               ids.options())};
  std::int64_t k0 = word(seed, 0), k1 = word(seed, 32);
  for (int round = 0; round < 10; ++round) {
    const Words p0 = product(c[0], 0xD2511F53);
    const Words p1 = product(c[2], 0xCD9E8D57);
    c = {p1.high.bitwise_xor(c[1]).bitwise_xor(k0),
         p1.low,
         p0.high.bitwise_xor(c[3]).bitwise_xor(k1),
         p0.low};
    k0 = (k0 + 0x9E3779B9) & kWord;
    k1 = (k1 + 0xBB67AE85) & kWord;
  }
  // 53 bits
  const Tensor high = c[1] * (std::int64_t{1} << 21);
  const Tensor bits = high + c[0].bitwise_right_shift(11);
  return bits.to(at::kDouble) * 0x1.0p-53;
}

}  // namespace mumoe::model

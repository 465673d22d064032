#include "dist/params/parameter_registry.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "base/error.h"

namespace mumoe::dist {
namespace {

/// A slice seen as [outer, padded, inner] around the cut dim.
struct SliceLayout {
  std::int64_t outer = 1;
  std::int64_t extent = 1;
  std::int64_t inner = 1;
};

SliceLayout layout_of(const Parameter& parameter) {
  const at::IntArrayRef shape = parameter.global_shape;
  const int dim = std::max(parameter.placement.cut_dim, 0);
  if (shape.empty()) return {};
  return {c10::multiply_integers(shape.slice(0, dim)),
          shape[dim],
          c10::multiply_integers(shape.slice(dim + 1))};
}

/// Elements [begin, begin + count) of the flattened slice.
template <class Scalar>
void fill(const Parameter& parameter,
          const Slice& slice,
          std::uint64_t seed,
          std::int64_t begin,
          std::int64_t count,
          Scalar* out) {
  constexpr std::int64_t kGrain = 4096;
  const CounterRandom random(seed,
                             Purpose::parameter_init,
                             hash_name(parameter.name));
  const SliceLayout layout = layout_of(parameter);
  at::parallel_for(0, count, kGrain, [&](std::int64_t i, std::int64_t last) {
    while (i < last) {
      const std::int64_t row = (begin + i) / layout.inner;
      const std::int64_t column = (begin + i) % layout.inner;
      const std::int64_t end = std::min(last, i + layout.inner - column);
      const std::int64_t place = row % slice.padded;
      if (place >= slice.count) {
        std::fill(out + i, out + end, Scalar{0});
        i = end;
        continue;
      }
      std::int64_t global =
          (row / slice.padded * layout.extent + slice.begin + place) *
              layout.inner +
          column;
      for (; i < end; ++i, ++global) {
        out[i] = static_cast<Scalar>(parameter.init(random, global));
      }
    }
  });
}

}  // namespace

std::int64_t Parameter::global_numel() const {
  return c10::multiply_integers(global_shape);
}

std::vector<std::int64_t> Parameter::slice_shape(int tp) const {
  auto shape = global_shape;
  if (!placement.is_cut()) return shape;
  MUMOE_CHECK(placement.cut_dim < static_cast<int>(shape.size()),
              "{}: no dim {}",
              name,
              placement.cut_dim);
  std::int64_t& extent = shape[placement.cut_dim];
  extent = slice_of(extent, 0, tp).padded;
  return shape;
}

at::ScalarType master_dtype(at::ScalarType compute) {
  return compute == at::kDouble ? at::kDouble : at::kFloat;
}

at::Tensor ParameterRegistry::add(Parameter parameter) {
  for (const Parameter& known : parameters_) {
    MUMOE_CHECK(known.name != parameter.name,
                "{} is registered twice",
                parameter.name);
  }
  const bool trained = parameter.trained;
  parameter.decay = trained && (parameter.decay || decay_all_);
  parameter.full_precision = parameter.full_precision || !trained;
  const auto dtype = parameter.full_precision ? master_dtype() : compute_;
  parameter.value = at::empty(parameter.slice_shape(tp_.size()),
                              at::TensorOptions(dtype).device(device_));
  parameter.value.requires_grad_(trained);
  parameters_.push_back(std::move(parameter));
  given_->push_back(device_.is_meta());
  return parameters_.back().value;
}

const Parameter& ParameterRegistry::at(const std::string& name) const {
  const auto found =
      std::find_if(parameters_.begin(),
                   parameters_.end(),
                   [&](const Parameter& p) { return p.name == name; });
  MUMOE_CHECK(found != parameters_.end(), "no parameter is named {}", name);
  return *found;
}

std::int64_t ParameterRegistry::global_numel() const {
  std::int64_t sum = 0;
  for (const Parameter& p : parameters_)
    sum += p.trained ? p.global_numel() : 0;
  return sum;
}

void ParameterRegistry::await(std::size_t first, std::size_t last) const {
  require_given(*given_, first, last, "the model");
  if (await_) await_(first, last);
}

void require_given(const std::vector<bool>& given,
                   std::size_t first,
                   std::size_t last,
                   std::string_view what) {
  for (std::size_t i = first; i < last; ++i) {
    require(given[i],
            "{}: its parameters have no values yet; expected them from "
            "FlatBuckets::initialise, or from a file, before a forward pass",
            what);
  }
}

Slice ParameterRegistry::slice(const Parameter& parameter) const {
  const std::int64_t extent = layout_of(parameter).extent;
  if (!parameter.placement.is_cut()) return {0, extent, extent};
  return slice_of(extent, tp_.rank(), tp_.size());
}

at::Tensor ParameterRegistry::cut(const Parameter& parameter,
                                  const at::Tensor& whole) const {
  MUMOE_CHECK(whole.sizes() == at::IntArrayRef(parameter.global_shape),
              "{}: shape {}, expected {}",
              parameter.name,
              whole.sizes(),
              at::IntArrayRef(parameter.global_shape));
  if (!parameter.placement.is_cut()) return whole;
  const Slice part = slice(parameter);
  const int dim = parameter.placement.cut_dim;
  auto padded = at::zeros(parameter.value.sizes(), whole.options());
  padded.narrow(dim, 0, part.count)
      .copy_(whole.narrow(dim, part.begin, part.count));
  return padded;
}

at::Tensor ParameterRegistry::gather(const Parameter& parameter,
                                     const at::Tensor& slice) const {
  if (!parameter.placement.is_cut()) return slice;
  auto parts = slice.sizes().vec();
  parts.insert(parts.begin(), tp_.size());
  const at::Tensor gathered = at::empty(parts, slice.options());
  tp_.all_gather(slice.contiguous(), gathered);
  const int dim = parameter.placement.cut_dim;
  return at::cat(gathered.unbind(0), dim)
      .narrow(dim, 0, parameter.global_shape[dim]);
}

void initialise_slice(const ParameterRegistry& registry,
                      const Parameter& parameter,
                      std::uint64_t seed,
                      std::int64_t begin,
                      const at::Tensor& out) {
  const std::int64_t count = out.numel();
  MUMOE_CHECK(out.is_contiguous() && begin >= 0 &&
              begin + count <= parameter.value.numel());
  const Slice slice = registry.slice(parameter);
  if (out.scalar_type() == at::kDouble) {
    fill(parameter, slice, seed, begin, count, out.data_ptr<double>());
  } else {
    fill(parameter, slice, seed, begin, count, out.data_ptr<float>());
  }
}

}  // namespace mumoe::dist

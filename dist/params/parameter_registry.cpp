#include "dist/params/parameter_registry.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "base/error.h"

namespace mumoe::dist {
namespace {

/// Where the elements of a rank's slice come from: every dim of it as the part
/// of the global one.
struct SliceLayout {
  std::vector<Slice> dims;
  std::vector<std::int64_t> global_shape;

  SliceLayout(const Parameter& parameter, int rank, int tp)
      : global_shape(parameter.global_shape) {
    for (std::size_t d = 0; d < global_shape.size(); ++d) {
      dims.push_back(parameter.slice_of_dim(static_cast<int>(d), rank, tp));
    }
    if (dims.empty()) {  // a scalar
      dims.push_back({0, 1, 1});
      global_shape.push_back(1);
    }
  }
  /// The flat global index at which row `row` of the slice begins, the places
  /// of all dims but the last counted as one; −1: all of it is padding.
  std::int64_t begin_of_row(std::int64_t row) const {
    std::int64_t begin = dims.back().begin, stride = global_shape.back();
    for (std::size_t d = dims.size() - 1; d-- > 0;) {
      const std::int64_t place = row % dims[d].padded;
      row /= dims[d].padded;
      if (place >= dims[d].count) return -1;
      begin += (dims[d].begin + place) * stride;
      stride *= global_shape[d];
    }
    return begin;
  }
};

/// Elements [begin, begin + count) of the flattened slice.
template <class Scalar>
void fill(const Parameter& parameter,
          const SliceLayout& layout,
          std::uint64_t seed,
          std::int64_t begin,
          std::int64_t count,
          Scalar* out) {
  constexpr std::int64_t kGrain = 4096;
  const CounterRandom random(seed,
                             Purpose::parameter_init,
                             hash_name(parameter.name));
  const Slice& columns = layout.dims.back();
  at::parallel_for(0, count, kGrain, [&](std::int64_t i, std::int64_t last) {
    while (i < last) {
      const std::int64_t row = (begin + i) / columns.padded;
      const std::int64_t column = (begin + i) % columns.padded;
      const std::int64_t end = std::min(last, i + columns.padded - column);
      const std::int64_t first = layout.begin_of_row(row);
      const std::int64_t values =
          first < 0 ? i : std::clamp(i + columns.count - column, i, end);
      for (std::int64_t global = first + column; i < values; ++i, ++global) {
        out[i] = static_cast<Scalar>(parameter.init(random, global));
      }
      std::fill(out + i, out + end, Scalar{0});
      i = end;
    }
  });
}

}  // namespace

std::int64_t Parameter::global_numel() const {
  return c10::multiply_integers(global_shape);
}

std::vector<std::int64_t> Parameter::slice_shape(int tp) const {
  auto shape = global_shape;
  const int dims = static_cast<int>(shape.size());
  MUMOE_CHECK(placement.cut_dim < dims && padded_dim < dims,
              "{}: no dim {}",
              name,
              std::max(placement.cut_dim, padded_dim));
  for (int d = 0; d < dims; ++d) shape[d] = slice_of_dim(d, 0, tp).padded;
  return shape;
}

Slice Parameter::slice_of_dim(int dim, int rank, int tp) const {
  const bool cut = dim == placement.cut_dim;
  return slice_of(global_shape[dim],
                  cut ? rank : 0,
                  cut ? tp : 1,
                  dim == padded_dim ? multiple : 1);
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
  parameter.frozen = freezes_ && parameter.trained;
  parameter.trained = parameter.trained && !parameter.frozen;
  const bool trained = parameter.trained;
  parameter.decay = trained && (parameter.decay || decay_all_);
  parameter.full_precision =
      parameter.full_precision || !(trained || parameter.frozen);
  parameter.multiple = row_multiple_;
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
    sum += p.trained || p.frozen ? p.global_numel() : 0;
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
  if (parameter.global_shape.empty()) return {0, 1, 1};
  const int dim = std::max(parameter.placement.cut_dim, 0);
  return parameter.slice_of_dim(dim, tp_.rank(), tp_.size());
}

at::Tensor ParameterRegistry::cut(const Parameter& parameter,
                                  const at::Tensor& whole) const {
  MUMOE_CHECK(whole.sizes() == at::IntArrayRef(parameter.global_shape),
              "{}: shape {}, expected {}",
              parameter.name,
              whole.sizes(),
              at::IntArrayRef(parameter.global_shape));
  if (!parameter.placement.is_cut() &&
      parameter.value.sizes() == whole.sizes()) {
    return whole;
  }
  const at::Tensor padded = at::zeros(parameter.value.sizes(), whole.options());
  at::Tensor to = padded, from = whole;
  for (int d = 0; d < static_cast<int>(whole.dim()); ++d) {
    const Slice part = parameter.slice_of_dim(d, tp_.rank(), tp_.size());
    to = to.narrow(d, 0, part.count);
    from = from.narrow(d, part.begin, part.count);
  }
  to.copy_(from);
  return padded;
}

at::Tensor ParameterRegistry::gather(const Parameter& parameter,
                                     const at::Tensor& slice) const {
  at::Tensor whole = slice;
  if (parameter.placement.is_cut()) {
    auto parts = slice.sizes().vec();
    parts.insert(parts.begin(), tp_.size());
    const at::Tensor gathered = at::empty(parts, slice.options());
    tp_.all_gather(slice.contiguous(), gathered);
    whole = at::cat(gathered.unbind(0), parameter.placement.cut_dim);
  }
  for (int d = 0; d < static_cast<int>(whole.dim()); ++d) {
    whole = whole.narrow(d, 0, parameter.global_shape[d]);
  }
  return whole;
}

void initialise_slice(const ParameterRegistry& registry,
                      const Parameter& parameter,
                      std::uint64_t seed,
                      std::int64_t begin,
                      const at::Tensor& out) {
  const std::int64_t count = out.numel();
  MUMOE_CHECK(out.is_contiguous() && begin >= 0 &&
              begin + count <= parameter.value.numel());
  const SliceLayout layout(parameter,
                           registry.tp().rank(),
                           registry.tp().size());
  if (out.scalar_type() == at::kDouble) {
    fill(parameter, layout, seed, begin, count, out.data_ptr<double>());
  } else {
    fill(parameter, layout, seed, begin, count, out.data_ptr<float>());
  }
}

}  // namespace mumoe::dist

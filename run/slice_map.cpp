#include "run/slice_map.h"

#include <algorithm>

#include "base/error.h"

namespace mumoe::run {
namespace {

/// The runs of an interval, one after the other.
class Runs {
 public:
  Runs(const SliceMap& map, FileInterval interval)
      : map_(map),
        begin_(interval.first),
        end_(interval.first + interval.count),
        row_(map.row_length() == 0 ? map.rows()
                                   : interval.first / map.row_length()) {
    clip();
  }

  bool done() const { return run_.count <= 0; }
  const SliceMap::Run& now() const { return run_; }
  void next() {
    ++row_;
    clip();
  }

 private:
  void clip() {
    run_ = {};
    if (row_ >= map_.rows()) return;
    run_ = map_.run(row_);
    const std::int64_t from = std::max(run_.file, begin_);
    const std::int64_t to = std::min(run_.file + run_.count, end_);
    const std::int64_t left_out = from - run_.file;
    run_.memory += left_out;
    run_.whole += left_out;
    run_.file = from;
    run_.count = to - from;
  }

  const SliceMap& map_;
  std::int64_t begin_, end_, row_;
  SliceMap::Run run_ = {};
};

bool meet(const SliceMap& a, const SliceMap& b) {
  for (std::size_t d = 0; d < a.begin().size(); ++d) {
    if (a.begin()[d] >= b.begin()[d] + b.extent()[d] ||
        b.begin()[d] >= a.begin()[d] + a.extent()[d]) {
      return false;
    }
  }
  return true;
}

}  // namespace

SliceMap::SliceMap(const dist::Parameter& parameter, int rank, int tp)
    : shape_(parameter.global_shape) {
  for (int d = 0; d < static_cast<int>(shape_.size()); ++d) {
    const dist::Slice slice = parameter.slice_of_dim(d, rank, tp);
    begin_.push_back(slice.begin);
    extent_.push_back(slice.count);
    padded_.push_back(slice.padded);
  }
  lay_out();
}

SliceMap::SliceMap(std::span<const std::int64_t> shape,
                   std::span<const std::int64_t> begin,
                   std::span<const std::int64_t> extent)
    : shape_(shape.begin(), shape.end()),
      begin_(begin.begin(), begin.end()),
      extent_(extent.begin(), extent.end()),
      padded_(extent_) {
  lay_out();
}

void SliceMap::lay_out() {
  for (std::size_t d = 0; d < shape_.size(); ++d) {
    if (extent_[d] != shape_[d] || padded_[d] != shape_[d]) last_ = d;
    numel_ *= extent_[d];
    padded_numel_ *= padded_[d];
  }
  for (std::size_t d = last_ + 1; d < shape_.size(); ++d) inner_ *= shape_[d];
  row_ = shape_.empty() ? 1 : extent_[last_] * inner_;
  for (std::size_t d = 0; d < last_; ++d) rows_ *= extent_[d];
}

SliceMap::Run SliceMap::run(std::int64_t row) const {
  Run run{0, row * row_, 0, row_};
  if (shape_.empty()) return run;
  std::int64_t memory_stride = padded_[last_] * inner_;
  std::int64_t whole_stride = shape_[last_] * inner_;
  run.whole = begin_[last_] * inner_;
  for (std::size_t d = last_; d-- > 0;) {
    const std::int64_t index = row % extent_[d];
    row /= extent_[d];
    run.memory += index * memory_stride;
    run.whole += (begin_[d] + index) * whole_stride;
    memory_stride *= padded_[d];
    whole_stride *= shape_[d];
  }
  return run;
}

std::int64_t SliceMap::before(std::int64_t place) const {
  if (place >= padded_numel_) return numel_;
  std::int64_t memory_stride = padded_numel_, file_stride = numel_;
  std::int64_t elements = 0;
  for (std::size_t d = 0; d < shape_.size(); ++d) {
    if (extent_[d] == 0) return 0;
    memory_stride /= padded_[d];
    file_stride /= extent_[d];
    const std::int64_t index = place / memory_stride;
    if (index >= extent_[d]) return elements + extent_[d] * file_stride;
    elements += index * file_stride;
    place -= index * memory_stride;
  }
  return elements;
}

std::vector<Copy> copies_between(const SliceMap& source,
                                 FileInterval from,
                                 const SliceMap& target,
                                 FileInterval to) {
  MUMOE_CHECK(source.begin().size() == target.begin().size());
  std::vector<Copy> copies;
  if (from.count == 0 || to.count == 0 || !meet(source, target)) return copies;
  Runs have(source, from), want(target, to);
  while (!have.done() && !want.done()) {
    const SliceMap::Run &a = have.now(), &b = want.now();
    const std::int64_t begin = std::max(a.whole, b.whole);
    const std::int64_t a_end = a.whole + a.count, b_end = b.whole + b.count;
    const std::int64_t end = std::min(a_end, b_end);
    if (begin < end) {
      copies.push_back(
          {a.file + begin - a.whole, b.memory + begin - b.whole, end - begin});
    }
    if (a_end <= b_end) have.next();
    if (b_end <= a_end) want.next();
  }
  return copies;
}

}  // namespace mumoe::run

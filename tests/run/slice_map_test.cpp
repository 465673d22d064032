// Where the elements of a part of a tensor lie, in memory, in a file and in the
// whole tensor: compared with counting them one by one.
#include "run/slice_map.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace mumoe::run {
namespace {

using Shape = std::vector<std::int64_t>;

/// Where one element lies.
struct Place {
  std::int64_t memory;
  std::int64_t whole;
};

/// A parameter, and which part of it a rank has.
struct Part {
  dist::Parameter parameter;
  int rank = 0;
  int tp = 1;

  SliceMap map() const { return {parameter, rank, tp}; }
  dist::Slice slice(std::size_t dim) const {
    return parameter.slice_of_dim(static_cast<int>(dim), rank, tp);
  }

  /// Its elements, in the file's order: row-major, without padding.
  std::vector<Place> places() const {
    const std::size_t dims = parameter.global_shape.size();
    std::vector<Place> all;
    Shape index(dims, 0);
    for (std::size_t d = 0; d < dims; ++d) {
      if (slice(d).count == 0) return all;
    }
    for (;;) {
      Place place{0, 0};
      for (std::size_t d = 0; d < dims; ++d) {
        place.memory = place.memory * slice(d).padded + index[d];
        place.whole =
            place.whole * parameter.global_shape[d] + slice(d).begin + index[d];
      }
      all.push_back(place);
      std::size_t d = dims;
      while (d > 0 && ++index[d - 1] == slice(d - 1).count) index[--d] = 0;
      if (d == 0) return all;
    }
  }

  std::int64_t padded_numel() const {
    std::int64_t all = 1;
    for (std::size_t d = 0; d < parameter.global_shape.size(); ++d) {
      all *= slice(d).padded;
    }
    return all;
  }
};

Part drawn_part(const Shape& shape) {
  Part part;
  part.parameter.name = "p";
  part.parameter.global_shape = shape;
  const int dims = static_cast<int>(shape.size());
  const int cut = *rc::gen::inRange(-1, dims);
  if (cut >= 0) {
    part.parameter.placement = dist::Placement::cut(cut);
    part.tp = *rc::gen::inRange(1, 5);
    part.rank = *rc::gen::inRange(0, part.tp);
  }
  part.parameter.padded_dim = *rc::gen::inRange(-1, dims);
  part.parameter.multiple = *rc::gen::element(1, 2, 4);
  return part;
}

Shape drawn_shape() {
  Shape shape(*rc::gen::inRange<std::size_t>(0, 4));
  for (auto& extent : shape) extent = *rc::gen::inRange<std::int64_t>(1, 8);
  return shape;
}

FileInterval drawn_interval(std::int64_t numel) {
  const auto first = *rc::gen::inRange<std::int64_t>(0, numel + 1);
  return {first, *rc::gen::inRange<std::int64_t>(0, numel - first + 1)};
}

/// Properties are drawn so often for each of rapidcheck's sizes.
constexpr int kTimes = 20;

void compare_places() {
  const Part part = drawn_part(drawn_shape());
  const SliceMap map = part.map();
  const auto places = part.places();
  RC_ASSERT(map.numel() == std::ssize(places));
  RC_ASSERT(map.is_padded() == (part.padded_numel() != std::ssize(places)));

  // Runs have each element once, in order.
  std::int64_t next = 0;
  for (std::int64_t row = 0; next < map.numel(); ++row) {
    RC_ASSERT(row < map.rows());
    const SliceMap::Run run = map.run(row);
    RC_ASSERT(run.file == next);
    RC_ASSERT(run.count == map.row_length());
    RC_ASSERT(run.count > 0);
    for (std::int64_t i = 0; i < run.count; ++i) {
      const Place& place = places.at(static_cast<std::size_t>(next++));
      RC_ASSERT(run.memory + i == place.memory);
      RC_ASSERT(run.whole + i == place.whole);
    }
  }

  std::size_t before = 0;
  for (std::int64_t place = 0; place <= part.padded_numel(); ++place) {
    RC_ASSERT(map.before(place) == static_cast<std::int64_t>(before));
    if (before < places.size() && places[before].memory == place) ++before;
  }
}

RC_GTEST_PROP(SliceMap, KnowsWhereEachElementLies, ()) {
  for (int i = 0; i < kTimes; ++i) compare_places();
}

void compare_copies() {
  const Shape shape = drawn_shape();
  const Part source = drawn_part(shape), target = drawn_part(shape);
  const auto there = source.places(), here = target.places();
  const FileInterval from = drawn_interval(std::ssize(there));
  const FileInterval to = drawn_interval(std::ssize(here));

  std::map<std::int64_t, std::int64_t> wanted;  // whole to memory
  for (std::int64_t i = to.first; i < to.first + to.count; ++i) {
    const Place& place = here[static_cast<std::size_t>(i)];
    wanted[place.whole] = place.memory;
  }
  std::map<std::int64_t, std::int64_t> expected;  // file to memory
  for (std::int64_t i = from.first; i < from.first + from.count; ++i) {
    const auto found = wanted.find(there[static_cast<std::size_t>(i)].whole);
    if (found != wanted.end()) expected[i] = found->second;
  }

  // As a file has it: what a source has is not padded.
  const SliceMap map = source.map();
  const SliceMap stored(shape, map.begin(), map.extent());
  for (const SliceMap& each : {map, stored}) {
    std::map<std::int64_t, std::int64_t> copied;
    std::int64_t last = -1;
    for (const Copy& copy : copies_between(each, from, target.map(), to)) {
      RC_ASSERT(copy.count > 0);
      RC_ASSERT(copy.from > last);
      last = copy.from + copy.count - 1;
      for (std::int64_t i = 0; i < copy.count; ++i) {
        RC_ASSERT(copied.emplace(copy.from + i, copy.memory + i).second);
      }
    }
    RC_ASSERT(copied == expected);
  }
}

RC_GTEST_PROP(SliceMap, CopiesWhatTwoPartsShare, ()) {
  for (int i = 0; i < kTimes; ++i) compare_copies();
}

TEST(SliceMap, PartsOfNothingAreCopiedNowhere) {
  const Shape shape{2, 3};
  const SliceMap whole(shape, Shape{0, 0}, shape);
  const SliceMap none(shape, Shape{2, 0}, Shape{0, 3});
  EXPECT_EQ(none.numel(), 0);
  EXPECT_TRUE(copies_between(whole, {0, 6}, none, {0, 0}).empty());
  EXPECT_TRUE(copies_between(none, {0, 0}, whole, {0, 6}).empty());
  // A rank whose slice of a dim that does not divide is padding alone.
  dist::Parameter few;
  few.global_shape = {1, 2};
  few.placement = dist::Placement::cut(0);
  const SliceMap padding(few, 1, 2);
  EXPECT_EQ(padding.numel(), 0);
  EXPECT_TRUE(padding.is_padded());
  for (const std::int64_t place : {0, 1, 2}) {
    EXPECT_EQ(padding.before(place), 0);
  }
  EXPECT_TRUE(copies_between(whole, {0, 6}, none, {0, 0}).empty());
}

}  // namespace
}  // namespace mumoe::run

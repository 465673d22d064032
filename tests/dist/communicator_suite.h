#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/communicator.h"
#include "dist/torch_text.h"

// What every backend must do, as functions of a communicator that all ranks
// call together. Expected values are closed forms of small integers, exact in
// every dtype.

namespace mumoe::dist::suite {

inline constexpr at::ScalarType kTypes[] = {at::kBFloat16,
                                            at::kFloat,
                                            at::kDouble,
                                            at::kLong};
inline constexpr std::int64_t kSizes[] = {0, 1, 97, 100'000};
inline constexpr ReduceOp kReductions[] = {ReduceOp::sum,
                                           ReduceOp::avg,
                                           ReduceOp::min,
                                           ReduceOp::max};

/// What rank `rank` holds at index `i`: in [-5, 5], and no rank is always the
/// largest.
inline at::Tensor values(std::int64_t count, int rank, std::int64_t first = 0) {
  return (at::arange(first, first + count, at::kLong) * 3 + rank * 4)
             .remainder(11) -
         5;
}

/// The reduction of `values` over `ranks` ranks, in `type`.
inline at::Tensor reduced(std::int64_t count,
                          int ranks,
                          ReduceOp op,
                          at::ScalarType type,
                          std::int64_t first = 0) {
  auto result = values(count, 0, first);
  for (int r = 1; r < ranks; ++r) {
    const auto other = values(count, r, first);
    if (op == ReduceOp::min) {
      result = at::minimum(result, other);
    } else if (op == ReduceOp::max) {
      result = at::maximum(result, other);
    } else {
      result = result + other;
    }
  }
  if (op == ReduceOp::avg && type == at::kLong) {
    return at::div(result, ranks, "trunc");
  }
  if (op == ReduceOp::avg) {
    return (result.to(at::kDouble) / ranks)
        .to(type == at::kDouble ? at::kDouble : at::kFloat)
        .to(type);
  }
  return result.to(type);
}

inline void expect_equal(const at::Tensor& found,
                         const at::Tensor& expected,
                         const std::string& where) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << where;
  // avg of a fraction rounds once or twice, by backend: one unit apart.
  const double unit =
      found.scalar_type() == at::kBFloat16 ? 1.0 / 128 : 1.0 / (1 << 20);
  const auto difference =
      (found.to(at::kDouble) - expected.to(at::kDouble)).abs();
  const bool close = found.scalar_type() == at::kLong
                         ? at::equal(found, expected)
                         : difference.le(expected.to(at::kDouble).abs() * unit)
                               .all()
                               .item<bool>();
  EXPECT_TRUE(close) << where << ", largest difference "
                     << (found.numel() ? difference.max().item<double>() : 0);
}

inline std::string name(at::ScalarType type, std::int64_t count) {
  return fmt::format("{} [{}]", type, count);
}

inline void all_reduce(Communicator& group) {
  for (const auto type : kTypes) {
    for (const auto count : kSizes) {
      for (const auto op : kReductions) {
        const auto tensor = values(count, group.rank()).to(type);
        group.all_reduce(tensor, op);
        expect_equal(
            tensor,
            reduced(count, group.size(), op, type),
            fmt::format("all_reduce {} {}", to_string(op), name(type, count)));
      }
    }
  }
}

inline void all_gather(Communicator& group) {
  for (const auto type : kTypes) {
    for (const auto count : kSizes) {
      for (const bool in_place : {false, true}) {
        const auto whole = at::full({group.size() * count}, -9, type);
        auto shard = values(count, group.rank()).to(type);
        if (in_place) {
          const auto part = whole.narrow(0, group.rank() * count, count);
          part.copy_(shard);
          shard = part;
        }
        group.all_gather(shard, whole);
        std::vector<at::Tensor> parts;
        for (int r = 0; r < group.size(); ++r)
          parts.push_back(values(count, r));
        expect_equal(whole,
                     at::cat(parts).to(type),
                     fmt::format("all_gather {}{}",
                                 name(type, count),
                                 in_place ? " in place" : ""));
      }
    }
  }
}

inline void reduce_scatter(Communicator& group) {
  for (const auto type : kTypes) {
    for (const auto count : kSizes) {
      for (const auto op : kReductions) {
        for (const bool in_place : {false, true}) {
          const auto whole =
              values(group.size() * count, group.rank()).to(type);
          const auto before = whole.clone();
          const auto part = whole.narrow(0, group.rank() * count, count);
          const auto shard = in_place ? part : at::full({count}, -9, type);
          group.reduce_scatter(whole, shard, op);
          const auto where = fmt::format("reduce_scatter {} {}{}",
                                         to_string(op),
                                         name(type, count),
                                         in_place ? " in place" : "");
          expect_equal(
              shard,
              reduced(count, group.size(), op, type, group.rank() * count),
              where);
          if (!in_place) expect_equal(whole, before, where + ", input");
        }
      }
    }
  }
}

inline void all_to_all(Communicator& group) {
  for (const auto type : kTypes) {
    for (const auto count : kSizes) {
      std::vector<at::Tensor> in, expected;
      for (int r = 0; r < group.size(); ++r) {
        in.push_back(values(count, group.rank() + 2 * r));
        expected.push_back(values(count, r + 2 * group.rank()));
      }
      const auto out = at::full({group.size() * count}, -9, type);
      group.all_to_all(at::cat(in).to(type), out);
      expect_equal(out,
                   at::cat(expected).to(type),
                   fmt::format("all_to_all {}", name(type, count)));
    }
  }
}

inline void broadcast(Communicator& group) {
  for (const auto type : kTypes) {
    for (const auto count : kSizes) {
      for (int root = 0; root < group.size(); ++root) {
        const auto tensor = values(count, group.rank()).to(type);
        group.broadcast(tensor, root);
        expect_equal(
            tensor,
            values(count, root).to(type),
            fmt::format("broadcast from {} {}", root, name(type, count)));
      }
    }
  }
}

/// A NaN of any rank reaches all ranks, through every reduction; signs of zero
/// and infinities are those of IEEE 754-2019 `minimum` and `maximum`.
inline void special_values(Communicator& group) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto type : {at::kBFloat16, at::kFloat, at::kDouble}) {
    for (const auto op : kReductions) {
      for (int owner = 0; owner < group.size(); ++owner) {
        const bool mine = group.rank() == owner;
        // NaN at one rank; infinity at one rank; zeros of different sign.
        const auto tensor = at::tensor({mine ? nan : 1.0,
                                        mine ? inf : 2.0,
                                        mine ? -inf : 2.0,
                                        mine ? -0.0 : 0.0},
                                       at::kDouble)
                                .to(type);
        const auto shard = tensor.clone();
        group.all_reduce(shard, op);
        const auto whole = tensor.repeat({group.size()});
        const auto part = at::empty({4}, type);
        group.reduce_scatter(whole, part, op);
        for (const auto& result : {shard, part}) {
          const auto x = result.to(at::kDouble);
          const auto* d = x.data_ptr<double>();
          const auto where =
              fmt::format("{} {} {}", to_string(op), type, c10::str(x));
          EXPECT_TRUE(std::isnan(d[0])) << where;
          const bool alone = group.size() == 1;
          EXPECT_EQ(d[1], op == ReduceOp::min && !alone ? 2.0 : inf) << where;
          EXPECT_EQ(d[2], op == ReduceOp::max && !alone ? 2.0 : -inf) << where;
          EXPECT_EQ(std::signbit(d[3]), alone || op == ReduceOp::min) << where;
        }
      }
    }
  }
}

/// bf16 sums keep what a bf16 accumulator would lose (reduce_scatter), or
/// round to nearest even (a pair in all_reduce).
inline void bf16_rounding(Communicator& group) {
  if (group.size() == 1) return;
  // 256 + 1 is halfway between 256 and 258: even is 256. 258 + 1: 260.
  const bool first = group.rank() == 0;
  const bool second = group.rank() == 1;
  const auto tensor = at::tensor({first    ? 256.0
                                  : second ? 1.0
                                           : 0.0,
                                  first    ? 258.0
                                  : second ? 1.0
                                           : 0.0},
                                 at::kDouble)
                          .to(at::kBFloat16);
  group.all_reduce(tensor);
  EXPECT_EQ(tensor[0].item<double>(), 256.0);
  EXPECT_EQ(tensor[1].item<double>(), 260.0);

  const int ranks = group.size();
  const auto whole = at::full({ranks}, first ? 256.0 : 1.0, at::kBFloat16);
  const auto shard = at::empty({1}, at::kBFloat16);
  group.reduce_scatter(whole, shard);
  const auto expected =
      at::full({1}, 256.0 + ranks - 1, at::kFloat).to(at::kBFloat16);
  EXPECT_EQ(shard.item<double>(), expected.item<double>());
}

/// Many operations of all kinds at once, waited for in the opposite order.
inline void several_in_flight(Communicator& group) {
  const int n = group.size();
  std::vector<Work> works;
  std::vector<at::Tensor> sums, wholes, parts;
  for (int i = 0; i < 24; ++i) {
    const std::int64_t count = 1 + 1711 * i;
    sums.push_back(values(count, group.rank()).to(at::kFloat));
    works.push_back(group.all_reduce_async(sums.back()));
    wholes.push_back(at::empty({n * count}, at::kLong));
    works.push_back(
        group.all_gather_async(values(count, group.rank()), wholes.back()));
    parts.push_back(at::empty({count}, at::kBFloat16));
    works.push_back(group.reduce_scatter_async(
        values(n * count, group.rank()).to(at::kBFloat16),
        parts.back(),
        ReduceOp::max));
  }
  for (auto it = works.rbegin(); it != works.rend(); ++it) it->wait();
  for (const auto& work : works) EXPECT_TRUE(work.done());
  for (int i = 0; i < 24; ++i) {
    const std::int64_t count = 1 + 1711 * i;
    expect_equal(sums[i], reduced(count, n, ReduceOp::sum, at::kFloat), "sum");
    expect_equal(wholes[i].narrow(0, (n - 1) * count, count),
                 values(count, n - 1),
                 "gather");
    expect_equal(
        parts[i],
        reduced(count, n, ReduceOp::max, at::kBFloat16, group.rank() * count),
        "scatter");
  }
}

/// Handles may be copied, waited for twice, and dropped.
inline void work_handles(Communicator& group) {
  Work().wait();
  EXPECT_TRUE(Work().done());
  const auto tensor = at::ones({100}, at::kFloat);
  { const Work dropped = group.all_reduce_async(at::ones({5000}, at::kLong)); }
  const Work work = group.all_reduce_async(tensor);
  const Work copy = work;
  work.wait();
  copy.wait();
  EXPECT_TRUE(copy.done());
  EXPECT_EQ(tensor[99].item<double>(), group.size());
}

/// No rank leaves a barrier before the last has come.
inline void barrier(Communicator& group) {
  using Clock = std::chrono::steady_clock;
  group.barrier();
  const auto start = Clock::now();
  if (group.rank() == group.size() - 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  group.barrier();
  EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(40));
}

/// Rows and columns of a grid, with operations of both under way at once.
inline void split_groups(Communicator& group) {
  const int n = group.size();
  const int width = n % 2 == 0 ? 2 : 1;
  const auto row = group.split(group.rank() / width, group.rank(), "row");
  const auto column = group.split(group.rank() % width, group.rank(), "column");
  EXPECT_EQ(row->size(), width);
  EXPECT_EQ(row->rank(), group.rank() % width);
  EXPECT_EQ(column->size(), n / width);
  EXPECT_EQ(column->rank(), group.rank() / width);
  EXPECT_EQ(row->axis(), "row");
  for (int i = 0; i < 5; ++i) {
    const auto a = at::full({1000}, group.rank(), at::kDouble);
    const auto b = at::full({3}, group.rank() + 1, at::kLong);
    const auto c = at::ones({10}, at::kFloat);
    const Work first = row->all_reduce_async(a);
    const Work second = column->all_reduce_async(b);
    const Work third = group.all_reduce_async(c);
    third.wait();
    second.wait();
    first.wait();
    const int in_row = group.rank() / width * width;
    EXPECT_EQ(a[999].item<double>(), width * in_row + width * (width - 1) / 2);
    std::int64_t expected = 0;
    for (int r = group.rank() % width; r < n; r += width) expected += r + 1;
    EXPECT_EQ(b[2].item<std::int64_t>(), expected);
    EXPECT_EQ(c[9].item<double>(), n);
  }
}

/// Any colors and keys: negative ones, all different, an order turned round;
/// groups inherit deadline and phase, and can be split again.
inline void split_colors_and_keys(Communicator& group) {
  const int n = group.size();
  group.set_phase("splitting");
  const auto alone = group.split(-7 * group.rank(), 5, "alone");
  EXPECT_EQ(alone->size(), 1);
  EXPECT_EQ(alone->rank(), 0);
  EXPECT_EQ(alone->phase(), "splitting");
  EXPECT_EQ(alone->deadline(), group.deadline());
  const auto turned = group.split(-1, -group.rank(), "turned");
  EXPECT_EQ(turned->size(), n);
  EXPECT_EQ(turned->rank(), n - 1 - group.rank());
  const auto tensor = at::full({1}, group.rank(), at::kLong);
  turned->broadcast(tensor, 0);
  EXPECT_EQ(tensor.item<std::int64_t>(), n - 1);
  const auto same = turned->split(3, 0, "same");  // equal keys: by rank
  EXPECT_EQ(same->rank(), turned->rank());
  const auto again = same->split(same->rank() % 2, same->rank(), "again");
  const auto one = at::ones({1}, at::kLong);
  again->all_reduce(one);
  EXPECT_EQ(one.item<std::int64_t>(), (n + 1 - same->rank() % 2) / 2);
}

/// Calls and bytes, and nothing for a group of one.
inline void counters(Communicator& group) {
  const auto fresh = group.split(0, group.rank(), "counted");
  Communicator& c = *fresh;
  const int n = c.size();
  c.all_reduce(at::zeros({10}, at::kFloat));
  c.all_reduce(at::zeros({0}, at::kFloat));
  c.all_gather(at::zeros({3}, at::kDouble), at::zeros({3 * n}, at::kDouble));
  c.reduce_scatter(at::zeros({5 * n}, at::kBFloat16),
                   at::zeros({5}, at::kBFloat16));
  c.all_to_all(at::zeros({2 * n}, at::kLong), at::zeros({2 * n}, at::kLong));
  c.broadcast(at::zeros({7}, at::kFloat), n - 1);
  c.barrier();
  const int on = n > 1;
  EXPECT_EQ(c.traffic(Op::all_reduce).calls, 2 * on);
  EXPECT_EQ(c.traffic(Op::all_reduce).bytes, 40 * on);
  EXPECT_EQ(c.traffic(Op::all_gather).bytes, 24 * n * on);
  EXPECT_EQ(c.traffic(Op::reduce_scatter).bytes, 10 * n * on);
  EXPECT_EQ(c.traffic(Op::all_to_all).bytes, 16 * n * on);
  EXPECT_EQ(c.traffic(Op::broadcast).bytes, 28 * on);
  EXPECT_EQ(c.traffic(Op::barrier).calls, on);
  EXPECT_EQ(c.traffic(Op::barrier).bytes, 0);
  // What was gathered, scattered or exchanged counts half.
  EXPECT_EQ(c.total_bytes(), (68 + 25 * n) * on);
}

/// What breaks the contract fails on the rank that breaks it, before anything
/// has been sent: the group goes on.
inline void contract_violations(Communicator& group) {
  const int n = group.size();
  const auto good = at::zeros({4, 4 * n}, at::kFloat);
  EXPECT_THROW(group.all_reduce(at::Tensor()), InternalError);
  EXPECT_THROW(group.all_reduce(good.t().narrow(1, 0, 2)), InternalError);
  EXPECT_THROW(group.all_reduce(good.to(at::kHalf)), InternalError);
  EXPECT_THROW(group.all_reduce(good.to(at::kInt)), InternalError);
  EXPECT_THROW(group.all_gather(good, at::zeros({16 * n * n + 1})),
               InternalError);
  EXPECT_THROW(group.all_gather(at::zeros({2}, at::kDouble),
                                at::zeros({2 * n}, at::kFloat)),
               InternalError);
  EXPECT_THROW(group.reduce_scatter(at::zeros({2 * n + 1}), at::zeros({2})),
               InternalError);
  EXPECT_THROW(group.broadcast(good, n), InternalError);
  EXPECT_THROW(group.broadcast(good, -1), InternalError);
  if (n > 1) {
    EXPECT_THROW(group.all_to_all(at::zeros({n + 1}), at::zeros({n + 1})),
                 InternalError);
  }
  group.set_phase("test of text");
  try {
    group.all_reduce(good.to(at::kHalf));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const InternalError& error) {
    const std::string text = error.what();
    for (const std::string& part :
         {fmt::format("rank {} of {}", group.rank(), n),
          "axis " + group.axis(),
          std::string("all_reduce"),
          std::string("test of text"),
          std::string("Half"),
          std::string("expected bf16")}) {
      EXPECT_NE(text.find(part), std::string::npos) << text;
    }
  }
  const auto one = at::ones({1}, at::kFloat);
  group.all_reduce(one);
  EXPECT_EQ(one.item<double>(), n);
}

using Check = void (*)(Communicator&);
struct NamedCheck {
  const char* name;
  Check check;
};

inline constexpr NamedCheck kChecks[] = {
    {"AllReduce", all_reduce},
    {"AllGather", all_gather},
    {"ReduceScatter", reduce_scatter},
    {"AllToAll", all_to_all},
    {"Broadcast", broadcast},
    {"SpecialValues", special_values},
    {"Bf16Rounding", bf16_rounding},
    {"SeveralInFlight", several_in_flight},
    {"WorkHandles", work_handles},
    {"Barrier", barrier},
    {"SplitGroups", split_groups},
    {"SplitColorsAndKeys", split_colors_and_keys},
    {"Counters", counters},
    {"ContractViolations", contract_violations},
};

}  // namespace mumoe::dist::suite

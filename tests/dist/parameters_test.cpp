// The registry, flat buckets, gradient reducer and norm, over threads.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <set>

#include "base/error.h"
#include "dist/params/flat_buckets.h"
#include "dist/params/gradient_norm.h"
#include "dist/params/gradient_reducer.h"
#include "dist/params/gradient_slot.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

Parameter parameter(std::string name,
                    std::vector<std::int64_t> shape,
                    Placement placement,
                    Initializer init,
                    bool decay = true) {
  return {.name = std::move(name),
          .global_shape = std::move(shape),
          .placement = placement,
          .decay = decay,
          .init = init};
}

TEST(Slice, PartsCoverTheDimAndPadTheRest) {
  for (const int size : {1, 2, 3, 4, 7}) {
    for (const std::int64_t extent : {1, 2, 5, 23, 199}) {
      std::int64_t covered = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Slice slice = slice_of(extent, rank, size);
        EXPECT_EQ(slice.begin, covered);
        EXPECT_GE(slice.count, 0);
        EXPECT_EQ(slice.padded, slice_of(extent, 0, size).padded);
        EXPECT_LE(slice.count, slice.padded);
        covered += slice.count;
      }
      EXPECT_EQ(covered, extent);
    }
  }
}

TEST(Registry, RefusesANameTwice) {
  const auto self = make_self_communicator(at::kCPU);
  ParameterRegistry registry(*self, at::kFloat, at::kCPU);
  registry.add(parameter("w", {2}, {}, Initializer::constant(0)));
  EXPECT_THROW(registry.add(parameter("w", {2}, {}, Initializer::constant(0))),
               InternalError);
  EXPECT_THROW(registry.at("v"), InternalError);
}

/// The initial value of a [5, 7, 3] parameter on one rank.
at::Tensor initial(Communicator& tp, Placement placement) {
  ParameterRegistry registry(tp, at::kDouble, at::kCPU);
  registry.add(parameter("w", {5, 7, 3}, placement, Initializer::normal(1, 2)));
  FlatBuckets buckets(registry, 1 << 10);
  buckets.initialise(3);
  return registry.parameters()[0].value.detach().clone();
}

TEST(Registry, SlicesOfACutParameterAreThoseOfTheWhole) {
  const auto self = make_self_communicator(at::kCPU);
  const at::Tensor whole = initial(*self, Placement::replicated());
  EXPECT_NEAR(whole.mean().item<double>(), 1, 1);
  for (const int dim : {0, 1, 2}) {
    for (const int ranks : {2, 3, 4}) {
      ThreadWorld::run(ranks, [&](Communicator& tp) {
        const at::Tensor part = initial(tp, Placement::cut(dim));
        const Slice slice = slice_of(whole.size(dim), tp.rank(), tp.size());
        EXPECT_EQ(part.size(dim), slice.padded);
        EXPECT_TRUE(at::equal(part.narrow(dim, 0, slice.count),
                              whole.narrow(dim, slice.begin, slice.count)));
        EXPECT_EQ(part.narrow(dim, slice.count, slice.padded - slice.count)
                      .abs()
                      .sum()
                      .item<double>(),
                  0);
        ParameterRegistry registry(tp, at::kDouble, at::kCPU);
        registry.add(parameter("w",
                               {5, 7, 3},
                               Placement::cut(dim),
                               Initializer::constant(0)));
        const Parameter& p = registry.parameters()[0];
        EXPECT_TRUE(at::equal(registry.gather(p, part), whole));
        EXPECT_TRUE(at::equal(registry.cut(p, whole), part));
      });
    }
  }
}

// Zeros behind a dim, cut or not, move no value.
TEST(Registry, PaddedDimsHoldTheSameValues) {
  const auto self = make_self_communicator(at::kCPU);
  const at::Tensor whole = initial(*self, Placement::replicated());
  for (const int padded : {0, 1, 2}) {
    for (const int dim : {-1, 0, 1, 2}) {
      ThreadWorld::run(3, [&](Communicator& tp) {
        SCOPED_TRACE(fmt::format("cut {}, padded {}", dim, padded));
        ParameterRegistry registry(tp, at::kDouble, at::kCPU, false, 4);
        Parameter described = parameter("w",
                                        {5, 7, 3},
                                        Placement{dim},
                                        Initializer::normal(1, 2));
        described.padded_dim = padded;
        registry.add(described);
        FlatBuckets buckets(registry, 1 << 10);
        buckets.initialise(3);
        const at::NoGradGuard no_grad;
        const Parameter& p = registry.parameters()[0];
        EXPECT_EQ(p.value.size(padded) % 4, 0);
        EXPECT_TRUE(at::equal(registry.cut(p, whole), p.value));
        EXPECT_TRUE(at::equal(registry.gather(p, p.value), whole));
        at::Tensor values = p.value;
        for (int d = 0; d < 3; ++d) {
          const Slice part = p.slice_of_dim(d, tp.rank(), tp.size());
          values = values.narrow(d, 0, part.count);
        }
        EXPECT_EQ((p.value != 0).sum().item<std::int64_t>(), values.numel());
      });
    }
  }
}

TEST(FlatBuckets, HoldEveryParameterOnceByKindAndSize) {
  const auto self = make_self_communicator(at::kCPU);
  ParameterRegistry registry(*self, at::kBFloat16, at::kCPU);
  const auto init = Initializer::normal(0, 1);
  registry.add(parameter("a", {100}, {}, init, false));
  registry.add(parameter("b", {10, 10}, {}, init));
  registry.add(parameter("c", {300}, {}, init));
  registry.add(parameter("d", {7}, Placement::cut(0), init));
  registry.add(parameter("e", {50}, {}, init));
  Parameter norm = parameter("f", {6}, {}, init);
  norm.full_precision = true;
  registry.add(norm);
  FlatBuckets buckets(registry, 200 * sizeof(float));
  std::set<std::string> seen;
  for (const Bucket& bucket : buckets.buckets()) {
    std::int64_t length = 0;
    for (const BucketEntry& entry : bucket.entries) {
      const Parameter& p = buckets.parameter(entry);
      EXPECT_TRUE(seen.insert(p.name).second);
      EXPECT_EQ(p.decay, bucket.decay);
      EXPECT_EQ(p.placement.is_cut(), bucket.cut);
      EXPECT_EQ(entry.offset, length);
      length += entry.numel;
      EXPECT_EQ(p.value.data_ptr(),
                buckets.view(bucket.compute, entry).data_ptr());
    }
    EXPECT_EQ(length, bucket.numel());
    EXPECT_TRUE(bucket.numel() <= 200 || bucket.entries.size() == 1);
  }
  EXPECT_EQ(seen.size(), 6u);
  buckets.initialise(1);
  for (const Bucket& bucket : buckets.buckets()) {
    EXPECT_EQ(bucket.master.scalar_type(), at::kFloat);
    const bool whole = buckets.parameter(bucket.entries[0]).full_precision;
    EXPECT_EQ(bucket.compute.scalar_type(), whole ? at::kFloat : at::kBFloat16);
    EXPECT_TRUE(at::equal(bucket.compute,
                          bucket.master.to(bucket.compute.scalar_type())));
    EXPECT_GT(bucket.master.abs().sum().item<double>(), 0);
  }
}

// Each rank draws what it owns, and gets the rest from the others: the weights
// of one rank, bit for bit.
TEST(FlatBuckets, InitialiseToTheSameWeightsHoweverTheyAreShared) {
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const auto add_all = [](ParameterRegistry& registry) {
      const auto init = Initializer::normal(0, 1);
      Parameter norm = parameter("norm", {13}, {}, init, /*decay=*/false);
      norm.full_precision = true;
      registry.add(norm);
      registry.add(parameter("cut", {5, 7, 3}, Placement::cut(1), init));
      registry.add(parameter("whole", {11, 17}, {}, init));
    };
    const auto self = make_self_communicator(at::kCPU);
    ParameterRegistry one(*self, dtype, at::kCPU);
    add_all(one);
    FlatBuckets expected(one, 1 << 8);
    expected.initialise(3);
    for (const int zero : {0, 1}) {
      for (const bool over_all : {false, true}) {
        ThreadWorld::run(6, [&](Communicator& world) {
          ProcessMesh mesh(world, 3, 2);
          ParameterRegistry registry(mesh.tp(), dtype, at::kCPU);
          add_all(registry);
          FlatBuckets buckets(
              registry,
              mesh,
              {.bytes = 1 << 8, .zero = zero, .whole_is_partial = over_all});
          for (const bool alone : {false, true}) {
            alone ? buckets.initialise_alone(3) : buckets.initialise(3);
            buckets.await();
            for (const Parameter& p : registry.parameters()) {
              EXPECT_TRUE(at::equal(registry.gather(p, p.value.detach()),
                                    one.at(p.name).value.detach()))
                  << p.name;
            }
            for (const Bucket& bucket : buckets.buckets()) {
              const at::Tensor own = bucket.owned.of(bucket.compute);
              EXPECT_TRUE(at::equal(own, bucket.master.to(own.scalar_type())));
            }
            for (const Bucket& bucket : buckets.buckets()) {
              bucket.compute.zero_();
              bucket.master.zero_();
            }
          }
        });
      }
    }
  }
}

// Rank r's loss is Σ (r + 1 + micro) · w·x, used twice for w as tied weights
// are; `unused` takes no part.
TEST(GradientReducer, SumsOverRanksAndMicroSteps) {
  for (const int ranks : {1, 2, 4}) {
    ThreadWorld::run(ranks, [&](Communicator& world) {
      ProcessMesh mesh(world, 0, 1);
      ParameterRegistry registry(mesh.tp(), at::kDouble, at::kCPU);
      const auto one = Initializer::constant(1);
      at::Tensor w = registry.add(parameter("w", {40}, {}, one));
      at::Tensor v = registry.add(parameter("v", {3, 2}, {}, one));
      registry.add(parameter("unused", {5}, {}, one));
      FlatBuckets buckets(registry, mesh, {.bytes = 64});
      buckets.initialise(0);
      GradientReducer reducer(buckets);
      constexpr int kMicroSteps = 3;
      for (int step = 0; step < 2; ++step) {
        for (int micro = 0; micro < kMicroSteps; ++micro) {
          const double x = world.rank() + 1 + micro;
          const at::Tensor loss =
              (w * x).sum() + (w * 2).sum() + (v * v * x).sum();
          reducer.begin(micro + 1 == kMicroSteps);
          loss.backward();
          EXPECT_FALSE(w.grad().defined());
        }
        reducer.finish();
        double sum_x = 0;
        for (int r = 0; r < ranks; ++r) sum_x += 3 * (r + 1) + 3;
        const double expected_w = sum_x + 2.0 * kMicroSteps * ranks;
        double squares = 0;
        for (const Bucket& bucket : buckets.buckets()) {
          for (const BucketEntry& entry : bucket.entries) {
            const std::string& name = buckets.parameter(entry).name;
            const double expected = name == "w"   ? expected_w
                                    : name == "v" ? 2 * sum_x
                                                  : 0;
            EXPECT_TRUE(buckets.view(bucket.grad, entry)
                            .eq(expected)
                            .all()
                            .item<bool>())
                << name << " in step " << step;
            squares += expected * expected * static_cast<double>(entry.numel);
          }
        }
        EXPECT_NEAR(gradient_norm(buckets, mesh), std::sqrt(squares), 1e-9);
      }
    });
  }
}

/// Σ w ∘ x, whose node adds its gradient where a slot says.
struct SlottedSum : torch::autograd::Function<SlottedSum> {
  static at::Tensor forward(torch::autograd::AutogradContext* context,
                            const at::Tensor& w,
                            const at::Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    context->save_for_backward({w, x});
    return (w * x).sum();
  }
  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      const torch::autograd::variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const GradientSlot slot(saved[0], /*in_place=*/false);
    slot.put(saved[1] * grads[0]);
    return {slot.finish(), {}};
  }
};

// A bf16 parameter whose gradients are fp32, beside one that autograd adds up.
TEST(GradientReducer, TakesGradientsOfAnotherDtypeInPlace) {
  for (const bool sinks : {false, true}) {
    const auto self = make_self_communicator(at::kCPU);
    ParameterRegistry registry(*self, at::kBFloat16, at::kCPU);
    const auto one = Initializer::constant(1);
    const at::Tensor w = registry.add(parameter("w", {3, 5}, {}, one));
    const at::Tensor v = registry.add(parameter("v", {4}, {}, one));
    FlatBuckets buckets(registry, 1 << 10);
    buckets.initialise(0);
    GradientReducer reducer(buckets, {.sinks = sinks});
    // Outside of a pass nothing is added to the buckets.
    const at::Tensor x = at::full({3, 5}, 1 + 1.0 / 512, at::kFloat);
    const auto alone = torch::autograd::grad({SlottedSum::apply(w, x)}, {w});
    EXPECT_EQ(alone[0].scalar_type(), at::kBFloat16);
    for (int step = 0; step < 2; ++step) {
      for (int micro = 0; micro < 3; ++micro) {
        reducer.begin(micro == 2);
        (SlottedSum::apply(w, x) + (v * 2).sum()).backward();
        EXPECT_FALSE(w.grad().defined());
      }
      reducer.finish();
      for (const Bucket& bucket : buckets.buckets()) {
        for (const BucketEntry& entry : bucket.entries) {
          const bool is_w = buckets.parameter(entry).name == "w";
          // What is in bf16 on its way is rounded.
          const double expected = !is_w ? 6 : sinks ? 3 + 3.0 / 512 : 3;
          EXPECT_TRUE(
              buckets.view(bucket.grad, entry).eq(expected).all().item<bool>())
              << sinks << " " << step;
        }
      }
    }
  }
}

// A model of four matrices, each with a norm beside it. All norms share one
// bucket, which the first of them completes at the very end; the buckets of the
// later matrices are under way when backward comes to the first.
TEST(GradientReducer, ReducesWhileBackwardRuns) {
  ThreadWorld::run(2, [](Communicator& world) {
    ProcessMesh mesh(world, 2, 1);
    ParameterRegistry registry(mesh.tp(), at::kDouble, at::kCPU);
    const auto one = Initializer::constant(1);
    std::vector<at::Tensor> norms, matrices;
    for (int l = 0; l < 4; ++l) {
      norms.push_back(registry.add(
          parameter(fmt::format("norm{}", l), {4}, {}, one, /*decay=*/false)));
      matrices.push_back(
          registry.add(parameter(fmt::format("matrix{}", l), {4, 4}, {}, one)));
    }
    norms.push_back(
        registry.add(parameter("norm", {4}, {}, one, /*decay=*/false)));
    FlatBuckets buckets(registry, mesh, {.bytes = 20 * sizeof(double)});
    buckets.initialise(0);
    GradientReducer reducer(buckets);
    at::Tensor x = at::ones({4}, at::kDouble);
    for (int l = 0; l < 4; ++l) x = at::mv(matrices[l], x * norms[l]);
    std::int64_t under_way = -1;
    matrices[0].register_hook([&](const at::Tensor&) {
      under_way = mesh.dp().traffic(Op::all_reduce).calls;
    });
    reducer.begin(true);
    (x * norms[4]).sum().backward();
    reducer.finish();
    EXPECT_EQ(under_way, 3) << "the buckets of matrices 3, 2 and 1";
  });
}

TEST(GradientNorm, CountsCutParametersOverRanksAndReplicatedOnesOnce) {
  ThreadWorld::run(4, [&](Communicator& world) {
    ProcessMesh mesh(world, 2, 2);
    ParameterRegistry registry(mesh.tp(), at::kFloat, at::kCPU);
    const auto zero = Initializer::constant(0);
    registry.add(parameter("whole", {9}, {}, zero));
    registry.add(parameter("cut", {7}, Placement::cut(0), zero));
    FlatBuckets buckets(registry, mesh, {.bytes = 1 << 10});
    for (const Bucket& bucket : buckets.buckets()) {
      for (const BucketEntry& entry : bucket.entries) {
        const Parameter& p = buckets.parameter(entry);
        buckets.scatter(at::full(p.global_shape, 2.0),
                        bucket,
                        entry,
                        bucket.grad);
      }
    }
    EXPECT_NEAR(gradient_norm(buckets, mesh), std::sqrt(16 * 4.0), 1e-6);
  });
}

}  // namespace
}  // namespace mumoe::dist

#include "dist/params/bucket_layout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "dist/params/gradient_norm.h"
#include "tests/dist/bucket_fixture.h"
#include "tests/support/parameters.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

using testing::BucketFixture;
using testing::Layout;

/// A list of parameters that no mesh has, and no tensor behind them.
std::vector<Parameter> described(bool padded = false) {
  const auto self = ThreadWorld(1).communicator(0);
  ParameterRegistry registry(*self,
                             at::kFloat,
                             at::kCPU,
                             /*decay_all=*/false,
                             padded ? 4 : 1);
  testing::add_parameters(registry);
  std::vector<Parameter> parameters = registry.parameters();
  for (Parameter& p : parameters) p.value.reset();
  return parameters;
}

TEST(BucketLayout, PiecesOfAllRanksAreEachSliceOnce) {
  for (const auto& [dp, tp] : {std::pair{1, 1}, {4, 1}, {3, 5}, {64, 8}}) {
    for (const auto& [partial, padded] :
         {std::pair{false, false}, {true, false}, {true, true}}) {
      const std::vector<Parameter> parameters = described(padded);
      const MeshShape mesh{dp, tp};
      const BucketLayout layout = lay_out(parameters,
                                          at::kBFloat16,
                                          mesh,
                                          {.bytes = 400,
                                           .align = padded ? 16 : 1,
                                           .zero = 1,
                                           .whole_is_partial = partial});
      // By parameter and place in tp: how often each element is owned.
      std::vector<std::vector<std::vector<int>>> seen(parameters.size());
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        const auto shape = parameters[i].slice_shape(tp);
        seen[i].assign(tp, std::vector<int>(c10::multiply_integers(shape)));
      }
      for (int rank = 0; rank < mesh.ranks(); ++rank) {
        for (std::size_t b = 0; b < layout.buckets.size(); ++b) {
          for (const Piece& piece : pieces(layout, b, rank)) {
            const Interval own = owned(layout, b, rank);
            EXPECT_LE(piece.offset + piece.count, own.count);
            auto& counts = seen[piece.parameter][mesh.place_in_tp(rank)];
            for (int i = 0; i < piece.count; ++i) ++counts[piece.begin + i];
          }
        }
      }
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        // With partial gradients one owner in the world, of what is whole.
        const bool one = partial && !parameters[i].placement.is_cut();
        for (std::size_t e = 0; e < seen[i][0].size(); ++e) {
          int owners = 0;
          for (int t = 0; t < tp; ++t) owners += seen[i][t][e];
          EXPECT_EQ(owners, one ? 1 : tp) << parameters[i].name;
          for (int t = 0; t < tp; ++t) EXPECT_LE(seen[i][t][e], 1);
        }
      }
    }
  }
}

/// What the layout says, beside what the buckets hold and the ranks move.
void expect_counted(at::ScalarType dtype, Wire wire) {
  ThreadWorld::run(4, [&](Communicator& world) {
    for (const Layout& mesh : testing::layouts_of(4)) {
      SCOPED_TRACE(mesh.describe());
      BucketFixture f(world, mesh, dtype, {.wire = wire});
      const BucketLayout layout =
          lay_out(described(mesh.padded),
                  dtype,
                  {mesh.dp, mesh.tp},
                  {.bytes = 400,
                   .align = mesh.padded ? 16 : 1,
                   .zero = mesh.zero,
                   .whole_is_partial = mesh.whole_is_partial});
      ParameterBytes held;
      for (const Bucket& bucket : f.buckets->buckets()) {
        held.weights += static_cast<std::int64_t>(bucket.compute.nbytes());
        held.gradients += static_cast<std::int64_t>(bucket.grad.nbytes());
        const bool shared = bucket.master.is_alias_of(bucket.compute);
        held.optimizer += (shared ? 2 : 3) *
                          static_cast<std::int64_t>(bucket.master.nbytes());
      }
      const ParameterBytes bytes = bytes_a_rank(layout);
      EXPECT_EQ(bytes.weights, held.weights);
      EXPECT_EQ(bytes.gradients, held.gradients);
      EXPECT_EQ(bytes.optimizer, held.optimizer);

      const auto dp = f.mesh.dp().total_bytes();
      const auto all = f.mesh.dp_tp().total_bytes();
      f.backward(0, 4, 1);
      f.buckets->refresh_compute();
      const StepBytes step = bytes_a_step(layout, wire);
      EXPECT_EQ(f.mesh.dp().total_bytes() - dp, step.dp);
      EXPECT_EQ(f.mesh.dp_tp().total_bytes() - all, step.all);
    }
  });
}

TEST(BucketLayout, CountsBytesWithoutRanks) {
  for (const auto dtype : {at::kBFloat16, at::kFloat}) {
    for (const auto wire : {Wire::fp32, Wire::bf16}) {
      SCOPED_TRACE(fmt::format("{}, {}",
                               at::toString(dtype),
                               wire == Wire::bf16 ? "bf16" : "fp32"));
      expect_counted(dtype, wire);
    }
  }
}

TEST(BucketLayout, AlignsEveryParameterAndLetsNoneOverlap) {
  for (const std::int64_t align : {1, 7, 64}) {
    const BucketLayout layout =
        lay_out(described(),
                at::kBFloat16,
                {.dp = 3, .tp = 2},
                {.bytes = 2000, .align = align, .zero = 1});
    std::size_t entries = 0;
    for (std::size_t b = 0; b < layout.buckets.size(); ++b) {
      for (int rank = 0; rank < 6; ++rank) {
        EXPECT_EQ(owned(layout, b, rank).begin % align, 0);
      }
    }
    for (const BucketShape& bucket : layout.buckets) {
      std::int64_t end = 0;
      for (const BucketEntry& entry : bucket.entries) {
        EXPECT_EQ(entry.offset % align, 0);
        EXPECT_GE(entry.offset, end);
        EXPECT_LT(entry.offset, end + align);
        end = entry.offset + entry.numel;
        ++entries;
      }
      EXPECT_EQ(bucket.used(), end);
    }
    EXPECT_EQ(entries, described().size());
  }
}

TEST(Buffers, AreHeldAsParametersAreWithoutGradient) {
  ThreadWorld::run(4, [](Communicator& world) {
    ProcessMesh mesh(world, 2, 2);
    ParameterRegistry registry(mesh.tp(), at::kBFloat16, at::kCPU);
    const at::Tensor w = registry.add({.name = "w",
                                       .global_shape = {6, 3},
                                       .placement = {},
                                       .init = Initializer::constant(1)});
    const at::Tensor mean = registry.add({.name = "mean",
                                          .global_shape = {5},
                                          .placement = Placement::cut(0),
                                          .init = Initializer::constant(2),
                                          .trained = false});
    EXPECT_EQ(registry.global_numel(), 18);
    FlatBuckets buckets(registry, mesh, {.zero = 1});
    buckets.initialise(1);
    EXPECT_FALSE(mean.requires_grad());
    EXPECT_EQ(mean.scalar_type(), at::kFloat);
    EXPECT_EQ(mean.sum().item<double>(), mesh.tp().rank() == 0 ? 6 : 4);

    GradientReducer reducer(buckets);
    reducer.begin(true);
    w.sum().backward();
    reducer.finish();
    EXPECT_EQ(gradient_norm(buckets, mesh), std::sqrt(18 * 4.0));

    const at::NoGradGuard no_grad;
    mean.mul_(1.5);  // as the model does
    buckets.refresh_compute();
    const auto whole = testing::whole_tensors(buckets, &Bucket::master);
    EXPECT_TRUE(at::equal(whole.tensors.at("mean"), at::full({5}, 3.0)));
    for (const Bucket& bucket : buckets.buckets()) {
      for (const BucketEntry& entry : bucket.entries) {
        const std::string& name = buckets.parameter(entry).name;
        buckets.assign(whole.tensors.at(name), bucket, entry);
      }
    }
    EXPECT_EQ(mean.sum().item<double>(), mesh.tp().rank() == 0 ? 9 : 6);
  });
}

// Frozen weights are computed with in the dtype of trained ones, from masters
// that a checkpoint has whole; nothing is summed, and no optimizer keeps any.
TEST(FrozenWeights, KeepTheirValues) {
  ThreadWorld::run(4, [](Communicator& world) {
    ProcessMesh mesh(world, 2, 2);
    ParameterRegistry registry(mesh.tp(), at::kBFloat16, at::kCPU);
    const auto add = [&](const std::string& name) {
      return registry.add({.name = name,
                           .global_shape = {6, 3},
                           .placement = Placement::cut(0),
                           .init = Initializer::normal(0, 1)});
    };
    at::Tensor w, x;
    {
      const ParameterRegistry::Freezing freezing(registry);
      w = add("w");
    }
    x = add("x");
    EXPECT_TRUE(registry.at("w").frozen && !registry.at("x").frozen);
    EXPECT_EQ(registry.global_numel(), 36);
    FlatBuckets buckets(registry, mesh, {.zero = 1, .whole_is_partial = true});
    buckets.initialise(1);
    EXPECT_FALSE(w.requires_grad());
    EXPECT_EQ(w.scalar_type(), at::kBFloat16);
    EXPECT_EQ(buckets.layout().parameters, 36);
    // A copy in bf16 and a master, which every rank has whole, of 9 elements
    // and a zero; of x a rank updates its half.
    EXPECT_EQ(bytes_a_rank(buckets.layout()).weights, 10 * (2 + 4) + 10 * 2);
    EXPECT_EQ(bytes_a_rank(buckets.layout()).gradients, 10 * 4);
    EXPECT_EQ(bytes_a_rank(buckets.layout()).optimizer, 3 * 5 * 4);

    const auto before = testing::whole_tensors(buckets, &Bucket::master);
    GradientReducer reducer(buckets);
    reducer.begin(true);
    (w.detach() * x).sum().backward();
    reducer.finish();
    const auto gradients = testing::whole_tensors(buckets, &Bucket::grad);
    EXPECT_EQ(gradients.tensors.size(), 1u);
    EXPECT_TRUE(gradients.tensors.contains("x"));
    buckets.refresh_compute();
    const auto after = testing::whole_tensors(buckets, &Bucket::master);
    EXPECT_TRUE(at::equal(after.tensors.at("w"), before.tensors.at("w")));
    EXPECT_EQ(after.tensors.at("w").scalar_type(), at::kFloat);
    const at::Tensor mine =
        registry.cut(registry.at("w"), after.tensors.at("w"));
    EXPECT_TRUE(at::equal(w, mine.to(at::kBFloat16)));
  });
}

}  // namespace
}  // namespace mumoe::dist

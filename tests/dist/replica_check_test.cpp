#include "dist/params/replica_check.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>

#include "base/error.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

/// Changes what one rank holds.
using Fault = std::function<void(const ProcessMesh&, FlatBuckets&)>;

void add(ParameterRegistry& registry,
         const std::string& name,
         Placement placement) {
  registry.add({.name = name,
                .global_shape = {6, 4},
                .placement = placement,
                .init = Initializer::normal(0, 1)});
}

/// Runs the check on every rank of dp × tp and returns the error's text, which
/// must be the same on all; "" when none throws.
std::string check(int dp, int tp, at::ScalarType dtype, const Fault& fault) {
  std::string first;
  std::atomic<int> threw = 0;
  ThreadWorld::run(dp * tp, [&](Communicator& world) {
    world.set_deadline(60s);
    const ProcessMesh mesh(world, dp, tp);
    ParameterRegistry registry(mesh.tp(), dtype, at::kCPU);
    add(registry, "gate", Placement::replicated());
    add(registry, "output", Placement::cut(0));
    add(registry, "norm", Placement::replicated());
    FlatBuckets buckets(registry, 64);
    buckets.initialise(1);
    fault(mesh, buckets);
    std::string text;
    try {
      ReplicaCheck(buckets, mesh).run(12);
    } catch (const CommunicationError& error) {
      text = error.what();
      ++threw;
    }
    if (world.rank() == 0) first = text;
    world.barrier();
    EXPECT_EQ(text, first);
  });
  EXPECT_TRUE(threw == 0 || threw == dp * tp) << threw;
  return first;
}

/// Flips the lowest bit of the second element.
void flip_bit(const at::Tensor& tensor) {
  static_cast<char*>(tensor.data_ptr())[tensor.element_size()] ^= 1;
}

void flip_weight(FlatBuckets& buckets, const std::string& name) {
  flip_bit(buckets.registry().at(name).value);
}

TEST(ReplicaCheck, EqualReplicasPass) {
  for (const auto& [dp, tp] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      EXPECT_EQ(check(dp, tp, dtype, [](auto&, auto&) {}), "");
    }
  }
}

TEST(ReplicaCheck, OneBitOnOneDpRankIsFound) {
  for (const std::string name : {"gate", "output", "norm"}) {
    const auto text = check(3, 1, at::kFloat, [&](auto& mesh, auto& buckets) {
      if (mesh.dp().rank() == 1) flip_weight(buckets, name);
    });
    EXPECT_EQ(text,
              "step 12: replicas of " + name +
                  " differ: world rank(s) 1 (dp 1 tp 0) from rank(s) "
                  "0 (dp 0 tp 0), 2 (dp 2 tp 0)");
  }
}

TEST(ReplicaCheck, OneBitOnOneTpRankIsFound) {
  const auto fault = [](const std::string& name) {
    return [name](const ProcessMesh& mesh, FlatBuckets& buckets) {
      if (mesh.tp().rank() == 1) flip_weight(buckets, name);
    };
  };
  EXPECT_EQ(check(1, 2, at::kFloat, fault("norm")),
            "step 12: replicas of norm differ: world rank(s) 1 (dp 0 tp 1) "
            "from rank(s) 0 (dp 0 tp 0)");
  // The slices of a cut parameter are no replicas of each other: where all dp
  // ranks that hold one change alike, nothing differs.
  EXPECT_EQ(check(1, 2, at::kFloat, fault("output")), "");
  EXPECT_EQ(check(2, 2, at::kFloat, fault("output")), "");
}

TEST(ReplicaCheck, ASliceMustBeTheSameOnAllDpRanks) {
  const auto text = check(2, 2, at::kFloat, [](auto& mesh, auto& buckets) {
    if (mesh.control().rank() == 3) flip_weight(buckets, "output");
  });
  EXPECT_EQ(text,
            "step 12: replicas of output differ: world rank(s) 3 (dp 1 tp 1) "
            "from rank(s) 1 (dp 0 tp 1)");
}

TEST(ReplicaCheck, TheFirstInTheOrderOfTheRegistryIsNamed) {
  const auto text = check(2, 1, at::kFloat, [](auto& mesh, auto& buckets) {
    if (mesh.dp().rank() == 0) flip_weight(buckets, "norm");
    if (mesh.dp().rank() == 1) flip_weight(buckets, "output");
  });
  EXPECT_NE(text.find("replicas of output differ"), text.npos) << text;
}

TEST(ReplicaCheck, MastersBehindRoundedWeightsAreCompared) {
  const auto text = check(2, 1, at::kBFloat16, [](auto& mesh, auto& buckets) {
    if (mesh.dp().rank() == 0) return;
    for (const Bucket& bucket : buckets.buckets()) {
      for (const BucketEntry& entry : bucket.entries) {
        if (buckets.parameter(entry).name != "gate") continue;
        flip_bit(buckets.view(bucket.master, entry));
      }
    }
  });
  EXPECT_NE(text.find("replicas of the master of gate differ"), text.npos)
      << text;
}

TEST(ReplicaCheck, OfManyRanksTheFirstAreNamed) {
  const auto text = check(12, 1, at::kFloat, [](auto& mesh, auto& buckets) {
    if (mesh.dp().rank() == 11) flip_weight(buckets, "gate");
  });
  EXPECT_NE(text.find("rank(s) 11 (dp 11 tp 0) from"), text.npos) << text;
  EXPECT_NE(text.find("7 (dp 7 tp 0) and 3 more"), text.npos) << text;
}

}  // namespace
}  // namespace mumoe::dist

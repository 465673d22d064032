#include "launch/session.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "launch/null_run.h"
#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::launch {
namespace {

using namespace std::chrono_literals;

TEST(Session, ReplicasAreComparedEverySoManySteps) {
  run::Options options;
  options.device = run::DeviceKind::cpu;
  options.parallel.check_replicas = 3;
  const std::optional<dist::MpiRuntime> no_mpi;
  const Invocation invocation{{}, no_mpi, {}};
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    world.set_deadline(60s);
    Session session(options, world, invocation);
    dist::ProcessMesh& mesh = session.mesh;
    dist::ParameterRegistry registry(mesh.tp(), at::kFloat, at::kCPU);
    registry.add({.name = "gate",
                  .global_shape = {4},
                  .placement = dist::Placement::replicated(),
                  .init = dist::Initializer::normal(0, 1)});
    dist::FlatBuckets buckets(registry, 64);
    buckets.initialise(1);
    const auto after_step = session.after_step(buckets);
    after_step(3);
    if (world.rank() == 1) {
      registry.parameters()[0].value.data_ptr<float>()[2] += 1;
    }
    after_step(4);
    after_step(5);
    EXPECT_THROW(after_step(6), CommunicationError);
    EXPECT_EQ(session.finish_trace(), "");
  });
}

TEST(NullRun, RefusesWhatCannotBe) {
  run::Options options;
  options.trainer.out.clear();
  options.parallel.backend = run::BackendChoice::null;
  testing::expect_input_error([&] { make_null_world(options, 1); },
                              {"expected parallel.dp and parallel.tp"});
  options.parallel.dp = 64;
  options.parallel.tp = 8;
  const auto world = make_null_world(options, 1);
  EXPECT_EQ(world->size(), 512);
  EXPECT_EQ(world->rank(), 0);
  testing::expect_input_error([&] { make_null_world(options, 2); },
                              {"2 ranks were started"});
  options.resume = run::Resume::yes;
  testing::expect_input_error([&] { make_null_world(options, 1); },
                              {"no train.resume"});
  options.resume = run::Resume::no;
  options.trainer.out = "run";
  testing::expect_input_error([&] { make_null_world(options, 1); },
                              {"empty train.out"});
}

TEST(NullRun, BytesAreThoseOfTheBuckets) {
  run::Options options;
  options.parallel.dp = 2;
  const auto world = make_null_world(options, 1);
  dist::ProcessMesh mesh(*world, 2, 1);
  const auto report = [&](at::ScalarType dtype) {
    dist::ParameterRegistry registry(mesh.tp(), dtype, at::kCPU);
    registry.add({.name = "gate",
                  .global_shape = {1 << 20},
                  .placement = dist::Placement::replicated(),
                  .init = dist::Initializer::constant(0)});
    dist::FlatBuckets buckets(registry, 64);
    StepCosts costs;
    costs.step_ended();
    costs.step_ended();
    return costs.report({.bytes = dist::bytes_a_rank(buckets.layout())},
                        at::kCPU);
  };
  // 2^20 elements. fp32: the weights are the masters; two moments.
  EXPECT_NE(report(at::kFloat)
                .find("weights 4.0 MiB, gradients 4.0 MiB, optimizer 8.0 MiB"),
            std::string::npos)
      << report(at::kFloat);
  EXPECT_NE(report(at::kBFloat16)
                .find("weights 2.0 MiB, gradients 4.0 MiB, optimizer 12.0 MiB"),
            std::string::npos)
      << report(at::kBFloat16);
  EXPECT_NE(report(at::kFloat).find("median of 1 after"), std::string::npos);
}

}  // namespace
}  // namespace mumoe::launch

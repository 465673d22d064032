#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "dist/process_mesh.h"
#include "dist/watch/fingerprint.h"

// What the comparison of collectives must find, as functions of a world of at
// least three ranks, of any backend.

namespace mumoe::dist::suite {

/// The text of the `CommunicationError` that `call` throws on this rank.
inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const CommunicationError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

/// Rank 1 of the dp axis calls `odd`, the others `usual`; every rank must fail
/// with exactly `text`, and what was not sent can be called after all.
inline void expect_difference(Communicator& world,
                              const std::function<void(ProcessMesh&)>& usual,
                              const std::function<void(ProcessMesh&)>& odd,
                              const std::string& text) {
  ProcessMesh mesh(world, world.size(), 1);
  FingerprintCheck check(mesh);
  mesh.observe(check);
  mesh.set_phase("backward");
  const bool is_odd = world.rank() == 1;
  EXPECT_EQ(error_of([&] { (is_odd ? odd : usual)(mesh); }), text);
  mesh.set_phase("update");
  const auto sum = at::ones({4}, at::kLong);
  mesh.dp_tp().all_reduce(sum);
  EXPECT_EQ(sum[3].item<std::int64_t>(), world.size());
}

inline std::function<void(ProcessMesh&)> reduce(
    std::int64_t count,
    at::ScalarType type = at::kFloat,
    ReduceOp op = ReduceOp::sum) {
  return [=](ProcessMesh& mesh) {
    mesh.dp().all_reduce(at::zeros({count}, type), op);
  };
}

inline void differences(Communicator& world) {
  const std::string rank1 = "axis dp, ranks differ: rank 1 called ";
  const std::string others =
      " in phase backward, the others all_reduce #1 of 16 fp32 (sum) in phase "
      "backward";
  expect_difference(world,
                    reduce(16),
                    reduce(12),
                    rank1 + "all_reduce #1 of 12 fp32 (sum)" + others);
  expect_difference(world,
                    reduce(16),
                    reduce(16, at::kBFloat16),
                    rank1 + "all_reduce #1 of 16 bf16 (sum)" + others);
  expect_difference(world,
                    reduce(16),
                    reduce(16, at::kFloat, ReduceOp::max),
                    rank1 + "all_reduce #1 of 16 fp32 (max)" + others);
  expect_difference(
      world,
      reduce(16),
      [](ProcessMesh& mesh) { mesh.dp().broadcast(at::zeros({16}), 2); },
      rank1 + "broadcast #1 of 16 fp32 from root 2" + others);
  expect_difference(
      world,
      reduce(16),
      [](ProcessMesh& mesh) { mesh.dp().barrier(); },
      rank1 + "barrier #1" + others);
  expect_difference(
      world,
      reduce(16),
      [](ProcessMesh& mesh) {
        mesh.set_phase("forward");
        reduce(16)(mesh);
      },
      rank1 + "all_reduce #1 of 16 fp32 (sum) in phase forward, the others " +
          "all_reduce #1 of 16 fp32 (sum) in phase backward");
  // Rank 1 skips an operation.
  expect_difference(
      world,
      [](ProcessMesh& mesh) {
        mesh.dp().all_reduce(at::ones({16}));
        ADD_FAILURE() << "the first operation went through";
      },
      [](ProcessMesh& mesh) { mesh.dp().all_reduce(at::ones({8})); },
      rank1 + "all_reduce #1 of 8 fp32 (sum)" + others);
}

/// A run whose ranks agree is not disturbed.
inline void agreement(Communicator& world) {
  ProcessMesh mesh(world, world.size(), 1);
  FingerprintCheck check(mesh);
  mesh.observe(check);
  for (int i = 1; i <= 20; ++i) {
    mesh.set_phase(i % 2 ? "forward" : "backward");
    const auto tensor = at::full({1000 * i}, world.rank(), at::kDouble);
    const Work work = mesh.dp().all_reduce_async(tensor, ReduceOp::max);
    mesh.control().barrier();
    mesh.tp().all_reduce(tensor.narrow(0, 0, 0));
    work.wait();
    EXPECT_EQ(tensor[i].item<double>(), world.size() - 1);
  }
}

}  // namespace mumoe::dist::suite

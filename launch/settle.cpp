#include "launch/settle.h"

#include "base/error.h"
#include "dist/self_communicator.h"
#include "launch/gpu_arithmetic.h"
#include "launch/mixing_choice.h"

namespace mumoe::launch {
namespace {

/// With device, backend and arithmetic as chosen.
Settled settle_compute(run::Options options,
                       const DeviceChoice& device,
                       const train::BatchPlan& batch,
                       dist::Communicator& world) {
  options.device = device.kind();
  options.parallel.backend = device.backend;
  Compute compute =
      choose_compute(options, world, device.device, batch.micro_batch);
  if (device.device.is_cuda()) {
    compute.reasons.push_back(set_gpu_arithmetic(options.deterministic));
  }
  options = compute.settled(std::move(options));
  return {std::move(options), std::move(compute), {}, batch, device.note};
}

}  // namespace

Settled settle(const run::Options& asked,
               const Session& session,
               const train::BatchPlan& batch,
               const std::string& unequal_cpus) {
  const dist::ProcessMesh& mesh = session.mesh;
  Settled settled =
      settle_compute(asked, session.chosen, batch, mesh.control());
  run::Options& options = settled.options;
  options.trainer.peak_flops = measure_peak_flops(options,
                                                  settled.compute,
                                                  mesh.control(),
                                                  batch.micro_batch);
  settled.sparse_share = choose_sparse_share(options,
                                             settled.compute,
                                             mesh.control(),
                                             batch.micro_batch);
  settled.plan =
      choose_plan(options, mesh, settled.compute, batch, unequal_cpus);
  if (mesh.tp().size() > 1) options.parallel.plan = settled.plan.plan;
  return settled;
}

Settled settle_evaluation(const run::Options& asked,
                          const Session& session,
                          const train::BatchPlan& batch) {
  MUMOE_CHECK(asked.parallel.plan, "no plan to evaluate under");
  Settled settled =
      settle_compute(asked, session.chosen, batch, session.mesh.control());
  settled.plan = {*asked.parallel.plan};
  return settled;
}

Settled settle_alone(run::Options asked) {
  asked.device = run::DeviceKind::automatic;
  asked.parallel.backend = run::BackendChoice::automatic;
  const auto alone = dist::make_self_communicator(at::kCPU);
  const auto device = choose_device(asked, *alone, gpus_here(/*local_rank=*/0));
  use_device(device.device);
  return settle_compute(std::move(asked), device, {.micro_batch = 1}, *alone);
}

}  // namespace mumoe::launch

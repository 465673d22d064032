#include "study/simulate/lone_rank.h"

#include "base/error.h"
#include "dist/null_communicator.h"
#include "model/families.h"
#include "mumoe/kernels/kernel_watch.h"
#include "train/parameter_layout.h"

namespace mumoe::study {
namespace {

/// Samples of an epoch, where a schedule counts in those: any number.
constexpr std::uint64_t kEpoch = 1'000'000;

}  // namespace

LoneRank::LoneRank(const run::Options& asked,
                   const RunLayout& layout,
                   at::ScalarType dtype,
                   at::Device device,
                   c10::DeviceType kind)
    : options_(run::with_steps(laid_out(asked, layout), kEpoch)),
      stood_for_(kernels::meta_stands_for) {
  kernels::meta_stands_for = kind;
  const at::Device like =
      kind == c10::kCUDA ? at::Device(kind, 0) : at::Device(kind);
  const model::Family& family = model::family(options_.family);
  const dist::NullMesh shape{.dp = layout.dp, .tp = layout.tp};
  world_ = dist::make_null_communicator(shape);
  carrier_ = dist::make_null_communicator(shape, device);
  mesh_ = std::make_unique<dist::ProcessMesh>(*world_,
                                              layout.dp,
                                              layout.tp,
                                              carrier_.get());
  sharding_ = std::make_unique<Sharding>(layout.plan, &mesh_->tp());
  const auto batch = train::BatchPlan::make(options_.trainer.batch,
                                            layout.micro_batch,
                                            layout.dp);
  for (const auto samples : {batch.micro_batch, batch.least_micro_batch()}) {
    family.validate_sharding(options_.model, *sharding_, samples);
  }
  registry_ = std::make_unique<dist::ParameterRegistry>(
      mesh_->tp(),
      dtype,
      device,
      options_.optimizer.decay_vectors,
      train::row_multiple(like));
  model_ = family.make(options_.model,
                       *registry_,
                       *sharding_,
                       train::batch_group(*mesh_, *sharding_));
  buckets_ = std::make_unique<dist::FlatBuckets>(
      *registry_,
      *mesh_,
      train::bucket_options(options_.parallel, *sharding_, like));
  samples_ = std::make_unique<BlankSamples>(family, options_.model);
  trainer_ =
      std::make_unique<train::Trainer>(options_.trainer,
                                       options_.schedule,
                                       options_.optimizer,
                                       train::TrainerParts{.mesh = *mesh_,
                                                           .model = *model_,
                                                           .buckets = *buckets_,
                                                           .train = *samples_,
                                                           .val = *samples_});
  if (!device.is_meta()) buckets_->initialise_alone(options_.trainer.seed);
}

LoneRank::~LoneRank() {
  kernels::meta_stands_for = stood_for_;
}

double LoneRank::model_flops() const {
  return static_cast<double>(options_.trainer.batch) *
         model_->cost(1, registry_->device()).flops;
}

train::StepReport LoneRank::step() {
  const auto report = trainer_->step();
  MUMOE_CHECK(report, "a step without a report");
  return *report;
}

}  // namespace mumoe::study

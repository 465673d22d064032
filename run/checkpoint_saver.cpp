#include "run/checkpoint_saver.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/thread_signals.h"
#include "dist/gather_text.h"
#include "run/agreed_errors.h"
#include "run/checkpoint_folder.h"
#include "run/manifest.h"
#include "run/publish.h"
#include "run/rebuild.h"

namespace mumoe::run {
namespace {

using Clock = std::chrono::steady_clock;

/// Adds the time that it lives.
class Stall {
 public:
  explicit Stall(double& seconds) : seconds_(seconds) {}
  ~Stall() {
    seconds_ += std::chrono::duration<double>(Clock::now() - began_).count();
  }
  Stall(const Stall&) = delete;
  Stall& operator=(const Stall&) = delete;

 private:
  double& seconds_;
  Clock::time_point began_ = Clock::now();
};

/// Whether what is written has to be copied to the host first.
bool on_device(const dist::FlatBuckets& buckets) {
  return std::ranges::any_of(buckets.buckets(), [](const auto& bucket) {
    return !bucket.master.is_cpu();
  });
}

/// From the disk, not from memory.
void read_again(Disk& disk,
                const std::filesystem::path& folder,
                const CheckedFile& file) {
  disk.forget(folder / file.name);
  CheckedReader(folder, file).check();
}

}  // namespace

CheckpointSaver::CheckpointSaver(SaverConfig config,
                                 dist::ProcessMesh& mesh,
                                 const dist::FlatBuckets& buckets,
                                 Disk& disk)
    : config_(std::move(config)),
      mesh_(mesh),
      buckets_(buckets),
      disk_(disk),
      rank_(mesh.control().rank()) {}

CheckpointSaver::~CheckpointSaver() {
  if (work_.valid()) work_.wait();
}

void CheckpointSaver::begin(const RunState& state,
                            const OptimizerState& optimizer) {
  const Stall stall(stall_);
  while (busy()) advance_stage();
  began_ = Clock::now();
  saved_ = {.step = state.step};
  state_ = state;
  temporary_ = temporary_path(config_.folder, state.step);
  target_ = checkpoint_path(config_.folder, state.step);
  failure_.clear();
  named_ = false;
  if (rank_ == 0) {
    try {
      begin_checkpoint(disk_, config_.folder, temporary_);
    } catch (const InputError& error) {
      failure_ = error.what();
    }
  }
  stage_ = Stage::writing;
  // The others write into the folder that rank 0 has made.
  if (const auto failure = first_text(mesh_.control(), failure_);
      !failure.empty()) {
    return give_up(failure);
  }
  buckets_.await();
  try {
    part_ = part_of(buckets_, optimizer, rank_, config_.async);
  } catch (const std::exception& error) {  // no memory for the copy
    failure_ = one_line(error.what());
  }
  saved_.bytes = bytes_of(part_);
  if (config_.async || on_device(buckets_)) saved_.copied_bytes = saved_.bytes;
  start(Stage::writing);
}

void CheckpointSaver::start(Stage stage) {
  stage_ = stage;
  work_ = std::async(std::launch::async, [this, stage] {
    block_signals();
    try {
      if (failure_.empty()) work(stage);
    } catch (const InputError& error) {
      failure_ = error.what();
    } catch (const std::bad_alloc&) {
      failure_ = fmt::format("{}: no memory to write it", target_.string());
    }
  });
}

void CheckpointSaver::work(Stage stage) {
  switch (stage) {
    case Stage::idle:
      break;
    case Stage::writing:
      return write();
    case Stage::protecting:
      return protect();
    case Stage::publishing:
      if (rank_ == 0) publish_on_rank_0();
      return;
    case Stage::verifying:
      return verify();
    case Stage::removing:
      if (rank_ == 0) remove_old();
  }
}

void CheckpointSaver::write() {
  written_ = write_part(disk_, temporary_, rank_, part_, state_);
  if (!config_.async) return;
  part_ = {};
  read_again(disk_, temporary_, written_.file);
}

void CheckpointSaver::protect() {
  parity_ = write_parity(disk_, temporary_, rank_, manifest_.files);
  if (config_.async) read_again(disk_, temporary_, parity_);
}

void CheckpointSaver::publish_on_rank_0() {
  add_note(
      publish_checkpoint(disk_, temporary_, target_, manifest_text(manifest_)));
  named_ = true;
  if (!config_.async) return;
  verify_manifest();
  remove_old();
}

void CheckpointSaver::verify() {
  read_again(disk_, target_, written_.file);
  if (config_.parity) read_again(disk_, target_, parity_);
  if (rank_ == 0) verify_manifest();
}

void CheckpointSaver::verify_manifest() {
  // Without it the other files are worth nothing.
  disk_.forget(target_ / kManifest);
  read_manifest(target_);
}

void CheckpointSaver::remove_old() {
  try {
    add_note(remove_old_checkpoints(disk_,
                                    config_.folder,
                                    state_.step,
                                    config_.keep));
  } catch (const InputError& error) {
    add_note(error.what());
  } catch (const std::bad_alloc&) {
    // What is written is there all the same.
    add_note(fmt::format("{}: no memory to remove what is old",
                         config_.folder.string()));
  }
}

void CheckpointSaver::add_note(const std::string& note) {
  if (note_.empty()) note_ = note;
}

void CheckpointSaver::gather_parts() {
  const auto parts = dist::gather_text(mesh_.control(), written_.text);
  manifest_ = {.state = state_,
               .mesh = mesh_.shape(),
               .files = {},
               .tensors = {}};
  if (rank_ != 0 && !config_.parity) return;
  for (const auto& part : parts) add_part(manifest_, part);
}

void CheckpointSaver::gather_parity() {
  const auto files =
      dist::gather_text(mesh_.control(), parity_to_text(parity_));
  for (const auto& file : files) add_parity(manifest_, file);
}

bool CheckpointSaver::ready() const {
  return work_.valid() &&
         work_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

void CheckpointSaver::advance() {
  const Stall stall(stall_);
  if (busy()) advance_stage();
}

void CheckpointSaver::advance_stage() {
  work_.get();
  if (stage_ == Stage::removing) {
    // Others wait for nothing of it, and what stays goes with the next.
    stage_ = Stage::idle;
    return;
  }
  if (const auto failure = first_text(mesh_.control(), failure_);
      !failure.empty()) {
    return give_up(failure);
  }
  switch (stage_) {
    case Stage::writing:
      part_ = {};
      gather_parts();
      return start(config_.parity ? Stage::protecting : Stage::publishing);
    case Stage::protecting:
      gather_parity();
      return start(Stage::publishing);
    case Stage::publishing:
      tell_published();
      if (!config_.async) return start(Stage::verifying);
      stage_ = Stage::idle;
      return;
    case Stage::verifying:
      return start(Stage::removing);
    case Stage::idle:
    case Stage::removing:
      break;
  }
}

void CheckpointSaver::tell_published() {
  saved_.note = first_text(mesh_.control(), note_);
  note_.clear();
  saved_.seconds = since_begin();
  result_ = saved_;
}

void CheckpointSaver::publish() {
  while (busy() && !published()) advance();
}

void CheckpointSaver::finish() {
  while (busy()) advance();
}

std::optional<Saved> CheckpointSaver::take_result() {
  auto result = std::exchange(result_, std::nullopt);
  if (result) result->stall_s = std::exchange(stall_, 0);
  return result;
}

void CheckpointSaver::give_up(const std::string& failure) {
  part_ = {};
  if (rank_ == 0) {
    // What was published and is not what was written must not be found.
    abandon_checkpoint(disk_, config_.folder, named_ ? target_ : temporary_);
  }
  stage_ = Stage::idle;
  saved_.failure = failure;
  saved_.seconds = since_begin();
  result_ = saved_;
}

double CheckpointSaver::since_begin() const {
  return std::chrono::duration<double>(Clock::now() - began_).count();
}

}  // namespace mumoe::run

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "launch/eval_report.h"
#include "launch/session.h"
#include "launch/settle.h"
#include "model/model.h"

namespace mumoe::launch {

/// What the command line of `mumoe eval` asks for.
struct EvalRequest {
  std::filesystem::path run;
  std::string data;  ///< Empty: the run's.
  bool wants_data = false;
  std::optional<std::int64_t> windows = {};  ///< Or images. None: all.
  std::filesystem::path choices;             ///< Empty: none.
  std::string json;  ///< A file; "-": stdout; empty: none.
};

/// An evaluation that is ready to begin.
struct EvalJob {
  const EvalRequest& request;
  Session& session;
  const Settled& settled;
  const model::Model& model;
};

// Each opens what is asked for, the same on all ranks, and scores it. Throw
// `InputError` where it does not fit the model. Collective.
TextScore score_text(const EvalJob& job);
ChoicesScore score_choices(const EvalJob& job);
ImagesScore score_images(const EvalJob& job);

}  // namespace mumoe::launch

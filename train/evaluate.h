#pragma once

#include <cstdint>

#include "data/text/token_file.h"
#include "dist/process_mesh.h"
#include "model/gpt2.h"

namespace mumoe::train {

/// Mean cross-entropy, nats a token, over `windows` fixed windows of `file`
/// (all there are when fewer fit). Windows are dealt over the dp ranks,
/// `micro_batch` at a time. The same on every rank. Collective.
double evaluate(const model::Gpt2& model,
                const data::TokenFile& file,
                std::int64_t windows,
                std::int64_t micro_batch,
                dist::ProcessMesh& mesh,
                at::Device device);

}  // namespace mumoe::train

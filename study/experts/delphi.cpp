#include "study/experts/delphi.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "mumoe/safetensors.h"
#include "run/agreed_errors.h"

namespace mumoe::study {
namespace {

std::string folder_of(const Gate& gate) {
  const auto space = gate.name.find(' ');
  return space == std::string::npos ? gate.name
                                    : fmt::format("{}.level{}",
                                                  gate.name.substr(0, space),
                                                  gate.level);
}

at::Tensor tensor_of(const std::vector<std::int32_t>& values) {
  return at::tensor(at::ArrayRef<std::int32_t>(values), at::kInt);
}

}  // namespace

DelphiExport::DelphiExport(std::filesystem::path folder,
                           const Material& material,
                           std::span<const Gate> gates,
                           const std::vector<std::uint64_t>& samples)
    : folder_(std::move(folder)),
      material_(material),
      gates_(gates.begin(), gates.end()),
      samples_(samples),
      cells_(gates.size()) {
  require(material.tokenizer != nullptr,
          "--delphi {}: Delphi reads activations of texts; expected a run that "
          "learns from text",
          folder_.string());
  for (const std::uint64_t sample : samples_) {
    rows_.emplace(sample, static_cast<std::int32_t>(rows_.size()));
  }
}

void DelphiExport::add(const RoutedBatch& batch) {
  for (std::size_t g = 0; g < gates_.size(); ++g) {
    const at::Tensor a_TN = batch.coefficients[g].to(at::kFloat).contiguous();
    const float* a = a_TN.const_data_ptr<float>();
    const auto experts = static_cast<std::int32_t>(gates_[g].experts);
    const auto tokens = static_cast<std::int32_t>(
        a_TN.size(0) / static_cast<std::int64_t>(batch.samples.size()));
    Cells& cells = cells_[g];
    for (const std::uint64_t sample : batch.samples) {
      const std::int32_t row = rows_.at(sample);
      for (std::int32_t token = 0; token < tokens; ++token, a += experts) {
        for (std::int32_t n = 0; n < experts; ++n) {
          if (!(a[n] > 0)) continue;
          cells.locations.insert(cells.locations.end(), {row, token, n});
          cells.activations.push_back(a[n]);
        }
      }
    }
  }
}

DelphiExport::Cells DelphiExport::gather(dist::Communicator& world,
                                         const Cells& mine) {
  // Ranks exchange int64: a location in one, with its coefficient in another.
  const auto count = static_cast<std::int64_t>(mine.activations.size());
  const at::Tensor most = at::full({1}, count, at::kLong);
  world.all_reduce(most, dist::ReduceOp::max);
  const std::int64_t room = most.item<std::int64_t>();
  const at::Tensor sent = at::full({room * 4}, -1, at::kLong);
  auto* to = sent.mutable_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < mine.activations.size(); ++i) {
    for (std::size_t k = 0; k < 3; ++k) *to++ = mine.locations[3 * i + k];
    *to++ = std::bit_cast<std::int32_t>(mine.activations[i]);
  }
  const at::Tensor all = at::empty({world.size() * room * 4}, at::kLong);
  world.all_gather(sent, all);
  if (world.rank() != 0) return {};
  std::vector<std::array<std::int32_t, 4>> rows;
  const auto* from = all.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < world.size() * room; ++i, from += 4) {
    if (from[0] < 0) continue;
    auto& row = rows.emplace_back();
    for (std::size_t k = 0; k < 4; ++k) {
      row[k] = static_cast<std::int32_t>(from[k]);
    }
  }
  std::ranges::sort(rows);
  Cells cells;
  for (const auto& row : rows) {
    cells.locations.insert(cells.locations.end(), row.begin(), row.begin() + 3);
    cells.activations.push_back(std::bit_cast<float>(row[3]));
  }
  return cells;
}

void DelphiExport::write(const Gate& gate,
                         const Cells& cells,
                         const RunFacts& facts) const {
  const std::filesystem::path folder = folder_ / folder_of(gate);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "{}: {}", folder.string(), error.message());
  std::vector<std::int32_t> tokens;
  for (const std::uint64_t sample : samples_) {
    const auto ids = tokens_of(*material_.samples, sample);
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  }
  const auto rows = static_cast<std::int64_t>(samples_.size());
  const std::int64_t context = std::ssize(tokens) / rows;
  NamedTensors named;
  named.tensors["locations"] =
      tensor_of(cells.locations).view({std::ssize(cells.activations), 3});
  named.tensors["activations"] =
      at::tensor(at::ArrayRef<float>(cells.activations), at::kFloat);
  named.tensors["tokens"] = tensor_of(tokens).view({rows, context});
  write_safetensors(folder / fmt::format("0_{}.safetensors", gate.experts - 1),
                    named);
  // Both names of the context's length that its versions have.
  const nlohmann::json config = {{"model_name", facts.run},
                                 {"dataset_repo", facts.data},
                                 {"dataset_split", facts.part},
                                 {"dataset_name", ""},
                                 {"dataset_column", "text"},
                                 {"tokenizer", material_.tokenizer->name()},
                                 {"batch_size", 1},
                                 {"ctx_len", context},
                                 {"cache_ctx_len", context},
                                 {"n_tokens", rows * context},
                                 {"n_splits", 1}};
  write_file_atomically(folder / "config.json", to_text(config, 2) + "\n");
}

void DelphiExport::finish(dist::Communicator& world,
                          bool tells,
                          const RunFacts& facts) {
  for (std::size_t g = 0; g < gates_.size(); ++g) {
    const Cells all = gather(world, tells ? cells_[g] : Cells{});
    cells_[g] = {};
    run::agree_on_errors(world, [&] {
      if (world.rank() == 0) write(gates_[g], all, facts);
    });
  }
}

}  // namespace mumoe::study

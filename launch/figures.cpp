#include "launch/figures.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"

namespace mumoe::launch {
namespace {

std::optional<Figures::Values> find_in(
    const std::map<std::string, Figures::Values>& table,
    const std::string& name) {
  const auto found = table.find(name);
  if (found == table.end()) return std::nullopt;
  return found->second;
}

/// Rank 0's values, on all ranks.
Figures::Values broadcast(const Figures::Values& values,
                          dist::Communicator& world) {
  const at::Tensor sent = at::tensor(values, at::kDouble);
  world.broadcast(sent, 0);
  const double* data = sent.const_data_ptr<double>();
  return {data, data + sent.numel()};
}

}  // namespace

Figures::Figures(std::string kind, std::string basis, dist::Communicator& world)
    : world_(world), kind_(std::move(kind)), basis_(std::move(basis)) {
  if (world_.rank() != 0) return;
  try {
    path_ = cache_folder() / "measured" /
            fmt::format("{:016x}.json", hash_name(kind_));
    read();
  } catch (const InputError& error) {
    problem_ = error.what();
  }
}

void Figures::read() {
  std::error_code error;
  if (!std::filesystem::exists(path_, error)) return;
  try {
    const auto json = parse_json(read_file(path_), path_.string());
    if (json.at("kind") != kind_) return;
    Table table = json.at("figures").get<Table>();
    (json.at("basis") == basis_ ? now_ : before_) = std::move(table);
  } catch (const nlohmann::json::exception&) {
    // Damaged: as if it were not there.
  } catch (const InputError&) {
    // The same.
  }
}

void Figures::write() {
  const nlohmann::json json = {{"kind", kind_},
                               {"basis", basis_},
                               {"figures", now_}};
  try {
    std::error_code error;
    std::filesystem::create_directories(path_.parent_path(), error);
    write_file_atomically(path_, to_text(json, 2) + "\n");
  } catch (const InputError& error) {
    problem_ = error.what();
  }
}

Figures::Values Figures::get(const std::string& name,
                             std::size_t count,
                             const std::function<Values()>& measure) {
  auto values = find(name).value_or(Values());
  const bool known = values.size() == count;
  if (broadcast({known ? 1.0 : 0.0}, world_)[0] == 0) {
    values = measure();
    keep(name, values);
  }
  values.resize(count);  // of ranks that remember nothing
  return broadcast(values, world_);
}

void Figures::keep(const std::string& name, const Values& values) {
  if (world_.rank() != 0) return;
  now_[name] = values;
  if (!path_.empty()) write();
}

std::optional<Figures::Values> Figures::find(const std::string& name) const {
  return find_in(now_, name);
}

std::optional<Figures::Values> Figures::before(const std::string& name) const {
  return find_in(before_, name);
}

}  // namespace mumoe::launch

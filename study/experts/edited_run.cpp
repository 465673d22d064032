#include "study/experts/edited_run.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/json.h"
#include "run/damage.h"
#include "run/import_weights.h"
#include "run/run_directory.h"
#include "run/version.h"
#include "run/weights_run.h"
#include "study/experts/routing.h"

namespace mumoe::study {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The gate that `request` names among `gates`.
const Gate& find_gate(const std::vector<Gate>& gates,
                      const model::Model& model,
                      const EditRequest& request) {
  const auto mixture_of = [&](const Gate& gate) {
    std::string name = model.mixtures()[gate.mixture]->prefix();
    if (name.ends_with('.')) name.pop_back();
    return name;
  };
  std::vector<const Gate*> found;
  for (const Gate& gate : gates) {
    const bool named = request.gate.empty() || request.gate == gate.name ||
                       request.gate == mixture_of(gate);
    const bool level = request.level < 0 ||
                       gate.level == static_cast<std::size_t>(request.level);
    if (named && level) found.push_back(&gate);
  }
  std::vector<std::string> names;
  for (const Gate& gate : gates) names.push_back(gate.name);
  std::string asked = request.gate.empty() ? "" : " " + request.gate;
  if (request.level >= 0) asked += fmt::format(" --level {}", request.level);
  require(found.size() == 1,
          "--gate{}: {} gates of {}; expected one of {}",
          asked,
          found.empty() ? "none of the" : "several",
          request.from.string(),
          fmt::join(names, ", "));
  return *found.front();
}

/// An edit under way.
struct Editing {
  const EditRequest& request;
  const run::Options& options;
  const run::ModelSkeleton& source;
  run::WeightImport& import;
  const Gate& gate;

  const MuMoEBlock& block() const {
    return *source.model->mixtures()[gate.mixture];
  }
  std::size_t index_of(const std::string& name) const {
    const auto& all = source.registry.parameters();
    const auto found = std::ranges::find(all, name, &dist::Parameter::name);
    MUMOE_CHECK(found != all.end(), "no parameter {}", name);
    return static_cast<std::size_t>(found - all.begin());
  }
};

/// Whether `name` is the factor of the gate's level in one of its layers.
bool is_edited(const Editing& e, const std::string& name) {
  for (std::size_t l = 1; l <= e.block().layers().size(); ++l) {
    if (name == fmt::format("{}layer{}.expert.{}",
                            e.block().prefix(),
                            l,
                            e.gate.level)) {
      return true;
    }
  }
  return false;
}

/// Parameter `index` of the source, its experts multiplied.
at::Tensor scaled_value(const Editing& e, std::size_t index) {
  at::Tensor value = e.import.parameter(index);
  if (!is_edited(e, e.source.registry.parameters()[index].name)) return value;
  const auto factors = e.request.edit.factors(e.gate.experts);
  const at::Tensor wide = value.to(at::kDouble).flatten(1);
  const at::Tensor rows =
      at::tensor(at::ArrayRef<double>(factors), at::kDouble).unsqueeze(1);
  // What is removed becomes zero, whatever it was.
  return at::where(rows == 0, at::zeros_like(wide), wide * rows)
      .view(value.sizes())
      .to(value.scalar_type());
}

void require_head(const Editing& e) {
  require(e.source.model->mixtures().size() == 1 &&
              e.block().config().output_dim == 0,
          "--shift: {} is no head of its own ({}); expected a model whose only "
          "mixture is a head of one layer",
          e.gate.name,
          e.source.model->describe());
}

/// The settings of a head with more ranks.
run::Options with_ranks(run::Options options,
                        const std::vector<std::int64_t>& ranks) {
  options.rank = fmt::format("{}", fmt::join(ranks, ","));
  options.model.mlp.ranks = ranks;
  options.followed.erase("model.rank");
  return options;
}

/// The factors of the head, with the shift, by the names of parameters.
std::map<std::string, at::Tensor> shifted_values(const Editing& e) {
  const MuMoEBlock& block = e.block();
  const LayerShape shape =
      block.config().shape().layers(block.config().ranks)[0];
  Factors factors;
  factors.form = shape.form;
  factors.expert.resize(shape.experts.size());
  std::map<std::string, const FactorSpec*> names;
  const auto specs = factor_specs(shape);
  for (const FactorSpec& spec : specs) {
    const at::Tensor& place = block.layers()[0].of(spec);
    for (const dist::Parameter& p : e.source.registry.parameters()) {
      if (!p.value.is_same(place)) continue;
      names[p.name] = &spec;
      factors.of(spec) = scaled_value(e, e.index_of(p.name)).to(at::kDouble);
    }
  }
  const Factors shifted = with_shift(factors, e.gate.level, e.request.shift);
  std::map<std::string, at::Tensor> values;
  for (const auto& [name, spec] : names) values[name] = shifted.of(*spec);
  return values;
}

std::string provenance_of(const Editing& e, const fs::path& checkpoint) {
  const ExpertEdit& edit = e.request.edit;
  json scale = json::object(), shift = json::object();
  for (const auto& [n, factor] : edit.scale) scale[std::to_string(n)] = factor;
  for (const auto& [o, lambda] : e.request.shift.of_class) {
    shift[std::to_string(o)] = lambda;
  }
  json said = {{"gate", e.gate.name}};
  if (!edit.remove.empty()) said["remove"] = edit.remove;
  if (!edit.keep.empty()) said["keep"] = edit.keep;
  if (!scale.empty()) said["scale"] = scale;
  if (!shift.empty()) {
    said["shift"] = shift;
    said["direction"] = e.request.shift.direction;
  }
  const json object = {{"version", run::kVersion},
                       {"git_revision", run::kGitRevision},
                       {"weights_from", e.request.from.string()},
                       {"edit_of", checkpoint.string()},
                       {"edit", said}};
  return to_text(object, 2) + "\n";
}

std::string summary_of(const Editing& e) {
  const auto factors = e.request.edit.factors(e.gate.experts);
  std::string text =
      fmt::format("{}: {} of {} experts removed, {} scaled",
                  e.gate.name,
                  std::ranges::count(factors, 0.0),
                  e.gate.experts,
                  std::ranges::count_if(factors, [](double factor) {
                    return factor != 0 && factor != 1;
                  }));
  for (const auto& [o, lambda] : e.request.shift.of_class) {
    text += fmt::format(", class {} shifted by {}", o, lambda);
  }
  return text;
}

void write(const Editing& e, const fs::path& checkpoint) {
  const at::ScalarType dtype = e.import.parameter(0).scalar_type();
  const std::string provenance = provenance_of(e, checkpoint);
  if (e.request.shift.of_class.empty()) {
    return run::write_weights_run(
        {.to = e.request.to,
         .options = e.options,
         .registry = e.source.registry,
         .dtype = dtype,
         .value = [&](std::size_t index) { return scaled_value(e, index); },
         .provenance = provenance});
  }
  require_head(e);
  const MuMoEBlock& block = e.block();
  const LayerShape shape =
      block.config().shape().layers(block.config().ranks)[0];
  const run::Options options =
      with_ranks(e.options, shape_with_shift(shape).ranks);
  const run::ModelSkeleton target(options);
  const auto shifted = shifted_values(e);
  run::write_weights_run({.to = e.request.to,
                          .options = options,
                          .registry = target.registry,
                          .dtype = dtype,
                          .value =
                              [&](std::size_t index) {
                                const std::string& name =
                                    target.registry.parameters()[index].name;
                                const auto found = shifted.find(name);
                                return found != shifted.end()
                                           ? found->second
                                           : scaled_value(e, e.index_of(name));
                              },
                          .provenance = provenance});
}

std::vector<std::string> edit_past(const EditRequest& request,
                                   const run::Damage& known) {
  const run::RunOnDisk opened =
      run::open_run(request.from, request.checkpoint, known);
  const run::OpenedWeights weights = run::open_weights(opened.checkpoint);
  const run::ModelSkeleton source(opened.options);
  const auto gates = gates_of(*source.model, request.from.string());
  run::WeightImport import(weights, source.registry);
  const Editing editing{request,
                        opened.options,
                        source,
                        import,
                        find_gate(gates, *source.model, request)};
  write(editing, opened.checkpoint);
  std::vector<std::string> lines = {
      fmt::format("from  {}", opened.checkpoint.string())};
  for (const auto& note : opened.notes) lines.push_back("note  " + note);
  for (const auto& note : weights.file->rebuilt()) lines.push_back(note);
  lines.push_back("edit  " + summary_of(editing));
  lines.push_back(fmt::format(
      "to    {}: weights alone, as of step 0; train.from goes on with them",
      request.to.string()));
  return lines;
}

}  // namespace

void require_new_run(const fs::path& to) {
  std::error_code error;
  require(!fs::exists(fs::symlink_status(to, error)) ||
              (fs::is_directory(to, error) && fs::is_empty(to, error)),
          "--to {}: is there already; expected the name of a folder to be made",
          to.string());
}

std::vector<std::string> write_edited_run(const EditRequest& request) {
  require_new_run(request.to);
  require(!request.edit.empty() || !request.shift.of_class.empty(),
          "--run {}: nothing is edited; expected --remove, --keep, --scale or "
          "--shift",
          request.from.string());
  return run::past_damage(
      [&](const run::Damage& known) { return edit_past(request, known); });
}

}  // namespace mumoe::study

#include "run/suggestions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <sstream>
#include <string_view>

#include "base/error.h"

namespace mumoe::run {
namespace {

/// What other programs have and this one does not.
struct Missing {
  const char* words;
  const char* instead;
};

constexpr Missing kMissing[] = {
    {"epochs epoch num_epochs n_epochs max_epochs num_train_epochs",
     "a run is as long as train.steps or train.epochs says; an epoch is as "
     "many "
     "steps as there are training samples / train.batch"},
    {"wandb wandb_log wandb_project use_wandb mlflow report_to logger log_to",
     "the numbers of every step are in metrics.jsonl of the run directory, "
     "train.out, and as log.tensorboard says; nothing is sent anywhere"},
    {"num_workers workers dataloader_num_workers prefetch prefetch_factor "
     "pin_memory",
     "batches are read ahead by a thread of every rank; there is nothing to "
     "set"},
    {"compile torch_compile jit use_compile fused",
     "kernels are compiled and fused already; there is nothing to set"},
    {"amp autocast use_amp fp16 bf16 half mixed_precision grad_scaler "
     "loss_scale",
     "precision is train.precision (bf16: with fp32 master weights, without "
     "loss scaling)"},
    {"threads n_threads num_threads nthreads omp_num_threads intra_op_threads "
     "cpus_per_task",
     "the ranks of a host divide its cores; OMP_NUM_THREADS sets the threads "
     "of a rank"},
    {"nproc np nproc_per_node nnodes num_nodes nodes num_gpus n_gpu gpus "
     "num_processes world_size ranks n_ranks local_rank rank_id master_addr "
     "master_port rdzv_endpoint launcher",
     "ranks are started by launch/mpirun -n RANKS; parallel.tp says how they "
     "are laid out"},
    {"pp pipeline pipeline_parallel pipeline_parallel_size "
     "pipeline_model_parallel_size virtual_pipeline expert_parallel "
     "expert_model_parallel_size ep context_parallel context_parallel_size cp",
     "there are data parallelism, parallel.dp, and tensor parallelism, "
     "parallel.tp"},
    {"aux_loss aux_loss_coef moe_aux_loss_coeff load_balancing "
     "load_balancing_loss router_aux_loss_coef router_z_loss z_loss "
     "capacity_factor moe_capacity_factor drop_tokens jitter",
     "experts are mixed, tokens are not routed: there is no loss to balance "
     "them and no capacity"},
    {"optim optimizer_type optimizer_name momentum adamw adam sgd nesterov",
     "the optimizer is AdamW; its keys are in the section optimizer"},
    {"patience early_stopping early_stop max_time",
     "a run ends after train.steps; SIGTERM or Ctrl-C saves and stops it"},
    {"activation activation_fn activation_function hidden_act act "
     "nonlinearity",
     "hidden layers have GELU; the gate's activation is model.gate"},
    {"tie_weights tie_embeddings tie_word_embeddings "
     "untie_embeddings_and_output_weights",
     "token embedding and head are always one matrix"},
    {"flash_attention flash_attn use_flash_attn use_flash_attention sdpa "
     "attn_implementation attention_backend",
     "attention is LibTorch's scaled_dot_product_attention; there is nothing "
     "to set"},
    {"rope rotary use_rope rope_theta rotary_embedding alibi "
     "position_embedding "
     "position_embedding_type",
     "positions are learned embeddings, as in GPT-2"},
    {"profile profiler nsys trace_file use_profiler",
     "log.trace writes a Chrome trace of the first steps"},
};

/// Lower case, letters and digits alone: n-layer and nLayer are n_layer.
std::string squeeze(std::string_view text) {
  std::string letters;
  for (const unsigned char c : text) {
    if (std::isalnum(c)) letters += static_cast<char>(std::tolower(c));
  }
  return letters;
}

std::string_view without_section(std::string_view name) {
  const auto dot = name.rfind('.');
  return dot == name.npos ? name : name.substr(dot + 1);
}

std::string_view section_of(std::string_view name) {
  const auto dot = name.find('.');
  return dot == name.npos ? std::string_view() : name.substr(0, dot);
}

std::vector<std::string> squeezed_words(const std::string& words) {
  std::istringstream in(words);
  std::vector<std::string> all;
  for (std::string word; in >> word;) all.push_back(squeeze(word));
  return all;
}

/// Everything that `word` is called, squeezed.
std::vector<std::string> names_of(const Word& word) {
  auto names = squeezed_words(word.others);
  names.push_back(squeeze(word.name));
  names.push_back(squeeze(without_section(word.name)));
  return names;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

/// Insertions, removals, replacements and swaps of neighbours from `a` to `b`.
std::size_t edits(const std::string& a, const std::string& b) {
  std::vector<std::size_t> older, old, row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    older = std::exchange(old, row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min(
          {old[j - 1] + (a[i - 1] != b[j - 1]), old[j] + 1, row[j - 1] + 1});
      const bool swapped =
          i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], older[j - 2] + 1);
    }
  }
  return row.back();
}

/// Those of `known` that are called `name`.
std::vector<const Word*> called(const std::string& name,
                                const std::vector<Word>& known) {
  std::vector<const Word*> found;
  for (const Word& word : known) {
    if (has(names_of(word), name)) found.push_back(&word);
  }
  return found;
}

/// The one most like `name`, unless a third of the letters is another; of two,
/// the one whose section is like it too.
std::vector<std::string> nearest(const std::string& name,
                                 const std::vector<Word>& known) {
  const Word* best = nullptr;
  double least = 1.0 / 3;
  for (const auto& letters : {squeeze(name), squeeze(without_section(name))}) {
    for (const Word& word : known) {
      for (const auto& other : names_of(word)) {
        const auto longer = std::max(letters.size(), other.size());
        const double share = static_cast<double>(edits(letters, other)) /
                             static_cast<double>(longer);
        if (share > least || (share == least && best != nullptr)) continue;
        least = share;
        best = &word;
      }
    }
  }
  if (best == nullptr) return {};
  return {best->name};
}

const Missing* missing(const std::string& name) {
  for (const auto& letters : {squeeze(name), squeeze(without_section(name))}) {
    for (const Missing& entry : kMissing) {
      if (has(squeezed_words(entry.words), letters)) return &entry;
    }
  }
  return nullptr;
}

/// The same by a part of the name: wandb_dir.
const Missing* missing_in_part(std::string name) {
  constexpr std::size_t kTelling = 5;
  std::ranges::replace_if(
      name,
      [](unsigned char c) { return !std::isalnum(c); },
      ' ');
  std::istringstream parts(name);
  for (std::string part; parts >> part;) {
    const auto* entry = part.size() < kTelling ? nullptr : missing(part);
    if (entry != nullptr) return entry;
  }
  return nullptr;
}

/// Those that are `name` by another name, not those that are like it.
std::vector<std::string> exactly(const std::string& name,
                                 const std::vector<Word>& known) {
  auto found = called(squeeze(name), known);
  if (found.empty()) found = called(squeeze(without_section(name)), known);
  const auto elsewhere = [&](const Word* word) {
    return section_of(word->name) != section_of(name);
  };
  if (!std::ranges::all_of(found, elsewhere)) std::erase_if(found, elsewhere);
  std::vector<std::string> names;
  for (const Word* word : found) names.push_back(word->name);
  return names;
}

std::string question(const std::vector<std::string>& names) {
  if (names.empty()) return {};
  return fmt::format("did you mean {}?", fmt::join(names, " or "));
}

}  // namespace

std::string did_you_mean(const std::string& name,
                         const std::vector<Word>& known) {
  const auto names = exactly(name, known);
  return question(names.empty() ? nearest(name, known) : names);
}

std::string answer_to(const std::string& name, const std::vector<Word>& known) {
  constexpr std::size_t kFew = 24;
  if (const auto names = exactly(name, known); !names.empty()) {
    return question(names);
  }
  if (const auto* entry = missing(name)) return entry->instead;
  if (const auto names = nearest(name, known); !names.empty()) {
    return question(names);
  }
  if (const auto* entry = missing_in_part(name)) return entry->instead;
  if (known.size() > kFew) return "mumoe help train lists all keys";
  std::vector<std::string> names;
  for (const Word& word : known) names.push_back(word.name);
  return fmt::format("expected one of: {}", fmt::join(names, ", "));
}

void refuse_unknown(const std::string& name,
                    const std::string& where,
                    const std::vector<Word>& known) {
  fail<InputError>("{}: unknown key {}; {}",
                   where,
                   name,
                   answer_to(name, known));
}

}  // namespace mumoe::run

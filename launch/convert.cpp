#include "run/convert.h"

#include <c10/core/ScalarType.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "launch/commands.h"
#include "run/command_line.h"
#include "run/consolidate.h"
#include "run/option_table.h"

namespace mumoe::launch {
namespace {

c10::ScalarType read_dtype(const std::string& name) {
  if (name == "fp32") return c10::ScalarType::Float;
  if (name == "bf16") return c10::ScalarType::BFloat16;
  if (name == "fp16") return c10::ScalarType::Half;
  if (name == "fp64") return c10::ScalarType::Double;
  fail<InputError>("--dtype {}: expected fp32, bf16, fp16 or fp64", name);
}

std::filesystem::path required(const run::CommandLine& line,
                               const std::string& name) {
  const std::string value = line.text(name, "");
  require(!value.empty(),
          "mumoe convert: --{} FILE_OR_FOLDER is missing",
          name);
  return value;
}

ExitCode say(const std::vector<std::string>& lines) {
  for (const auto& line : lines) std::printf("%s\n", line.c_str());
  return ExitCode::done;
}

/// Nothing is converted: what says how has no meaning.
void require_alone(const run::CommandLine& line) {
  for (const auto& [name, value] : line.own) {
    require(name == "from" || name == "to" || name == "consolidate",
            "--{} {}: --consolidate keeps a checkpoint as it is; expected one "
            "of the two",
            name,
            value);
  }
}

}  // namespace

std::vector<run::OwnOption> convert_options() {
  return {
      {"from",
       "PATH",
       "a run directory, a checkpoint, a folder of .safetensors files, one "
       "such file, or llm.c's .bin",
       "input in source src model checkpoint run"},
      {"to",
       "PATH",
       "a new run directory, a folder for model.safetensors (and, of hf, "
       "config.json), or a file; with --consolidate the folder of a "
       "checkpoint",
       "output out target dst"},
      {"as",
       "FORMAT",
       "hf, nanogpt, mumoe (the names of the layer's authors), llmc, timm "
       "or run; if it is not said, a run becomes hf or timm where its MLPs are "
       "dense, else mumoe, and others become a run",
       "format type to_format"},
      {"consolidate",
       "",
       "write a whole checkpoint, with the optimizer's state, as one file, "
       "state.safetensors, in the bytes that it has: a run goes on from it as "
       "checkpoints/step_XXXXXXXX",
       "merge gather"},
      {"dtype", "T", "fp32, bf16, fp16 or fp64 [fp32]", "precision"},
      {"tokenizer",
       "T",
       "of a run that is made: bytes or gpt2 [by the vocabulary]",
       "data.tokenizer"}};
}

ExitCode convert_command(const Invocation& invocation) {
  // As text: what they must be depends on what is in the files.
  std::vector<run::OwnOption> options = convert_options();
  for (const run::Word& key : run::key_words("model")) {
    options.push_back({.name = key.name, .value = "VALUE"});
  }
  const run::CommandLine line =
      run::read_command_line(invocation.arguments, "", options);
  run::ConvertRequest request{required(line, "from"), required(line, "to")};
  if (line.own.contains("consolidate")) {
    require_alone(line);
    return say(run::consolidate(request.from, request.to));
  }
  if (const std::string as = line.text("as", ""); !as.empty()) {
    try {
      request.as = run::parse_weight_format(as);
    } catch (const InputError& error) {
      fail<InputError>("--as {}: {}", as, error.what());
    }
  }
  request.dtype = read_dtype(line.text("dtype", "fp32"));
  for (const auto& [name, value] : line.own) {
    if (name.starts_with("model.")) request.given[name] = value;
  }
  if (const auto name = line.text("tokenizer", ""); !name.empty()) {
    request.given["data.tokenizer"] = name;
  }
  return say(run::convert(request));
}

}  // namespace mumoe::launch

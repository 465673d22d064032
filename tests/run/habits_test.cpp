#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <sstream>
#include <string>
#include <vector>

#include "run/command_line.h"
#include "run/option_table.h"
#include "tests/run/refusal.h"

// What people type who know nanoGPT, Megatron, Hugging Face or PyTorch, and
// what it is called here. Both lists were written down before the program was
// asked.

namespace mumoe::run {
namespace {

struct Habit {
  std::vector<std::string> typed;
  std::string meant;  ///< In the answer.
};

/// `did you mean KEY?`
std::string mean(const std::string& key) {
  return "did you mean " + key + "?";
}

std::vector<Habit> habits_of_the_field() {
  return {
      {{"--train.lr", "1e-3"}, mean("optimizer.lr")},
      {{"--lr", "1e-3"}, mean("optimizer.lr")},
      {{"--n_layer", "4"}, mean("model.depth")},
      {{"--model.layers", "4"}, mean("model.depth")},
      {{"--block_size", "64"}, mean("model.context")},
      {{"--dtype", "bfloat16"}, mean("train.precision")},
      {{"--model.factorization", "cp"}, mean("model.mlp")},
      {{"--decomposition", "cp"}, mean("model.mlp")},
      {{"--warmup", "10"}, mean("schedule.warmup")},
      {{"--eval.every", "10"}, mean("train.eval_every")},
      {{"--threads", "2"}, "OMP_NUM_THREADS"},
      {{"--n_embd", "64"}, mean("model.width")},
      {{"--batch_size", "8"}, mean("train.batch")},
      {{"--num_experts", "8"}, mean("model.experts")},
      {{"--n_head", "4"}, mean("model.heads")},
      {{"--learning_rate", "1e-3"}, mean("optimizer.lr")},
      {{"--model.mlp", "tensor_ring"}, mean("tr")},
      {{"--model.gate", "topk"}, mean("top_k")},
      {{"--train.device", "gpu"}, mean("cuda")},
      {{"--model.mlp", "CP"}, mean("cp")},
      {{"--epochs", "3"}, mean("train.epochs")},
      {{"--wandb", "yes"}, "metrics.jsonl"},
  };
}

std::vector<Habit> more_habits() {
  return {
      {{"--num-layers", "12"}, mean("model.depth")},
      {{"--hidden-size", "768"}, mean("model.width")},
      {{"--ffn-hidden-size", "3072"}, mean("model.hidden")},
      {{"--num-attention-heads", "12"}, mean("model.heads")},
      {{"--seq-length", "1024"}, mean("model.context")},
      {{"--micro-batch-size", "4"}, mean("train.micro_batch")},
      {{"--global-batch-size", "16"}, mean("train.batch")},
      {{"--tensor-model-parallel-size", "2"}, mean("parallel.tp")},
      {{"--gradient_accumulation_steps", "8"}, mean("train.micro_batch")},
      {{"--max_iters", "1000"}, mean("train.steps")},
      {{"--lr_decay_iters", "1000"}, mean("schedule.steps")},
      {{"--eval_iters", "20"}, mean("train.eval_windows")},
      {{"--save-interval", "100"}, mean("checkpoint.every")},
      {{"--max_grad_norm", "1"}, mean("optimizer.clip")},
      {{"--optimizer.wd", "0.1"}, mean("optimizer.weight_decay")},
      {{"--output_dir", "out"}, mean("train.out")},
      {{"--dataset", "speeches"}, mean("data.source")},
      {{"--router", "softmax"}, mean("model.gate")},
      {{"--gradient_checkpointing", "yes"}, mean("train.recompute")},
      {{"--lr_scheduler_type", "cosine"}, mean("schedule.kind")},
      {{"--resume_from_checkpoint", "yes"}, mean("train.resume")},
      {{"--model.d_ff", "1024"}, mean("model.hidden")},
      {{"--train.precision", "float32"}, mean("fp32")},
      {{"--model.mlp", "tensor_train"}, mean("tt")},
      {{"--data.tokenizer", "bpe"}, mean("gpt2")},
      {{"--model.gate_norm", "layernorm"}, mean("layer")},
      {{"--parallel.backend", "gloo"}, mean("mpi")},
      {{"--dropout", "0.1"}, mean("model.dropout")},
      {{"--num_workers", "4"}, "read ahead"},
      {{"--nproc_per_node", "2"}, "launch/mpirun -n"},
  };
}

void expect_answers(const std::vector<Habit>& habits) {
  for (const Habit& habit : habits) {
    const std::string answer = refusal(habit.typed);
    EXPECT_NE(answer.find(habit.meant), std::string::npos)
        << habit.typed[0] << " " << habit.typed[1] << ": " << answer;
  }
}

TEST(Habits, OfTheFieldAreUnderstood) {
  expect_answers(habits_of_the_field());
}

TEST(Habits, ThirtyMoreAreUnderstood) {
  expect_answers(more_habits());
}

// Every other word of the table leads to its key and to no other, in any
// section, with dashes and capitals too; and every word to its value.
TEST(Habits, WordsOfTheTableLeadToTheirKeys) {
  std::size_t words = 0;
  for (const Key& key : option_table()) {
    std::istringstream in(key.others);
    for (std::string word; in >> word; ++words) {
      const std::string answer = refusal({"--" + word, "1"});
      EXPECT_NE(answer.find(mean(key.name)), std::string::npos) << answer;
      std::ranges::replace(word, '_', '-');
      EXPECT_NE(refusal({"--" + word, "1"}).find(mean(key.name)),
                std::string::npos)
          << word;
    }
    for (const Word& value : key.text.words) {
      std::istringstream others(value.others);
      for (std::string word; others >> word; ++words) {
        const std::string answer = refusal({"--" + key.name, word});
        EXPECT_NE(answer.find(mean(value.name)), std::string::npos) << answer;
      }
      std::string capitals = value.name;
      std::ranges::transform(capitals, capitals.begin(), ::toupper);
      EXPECT_NE(refusal({"--" + key.name, capitals}).find(mean(value.name)),
                std::string::npos)
          << key.name << " " << capitals;
    }
  }
  EXPECT_GT(words, 300u);
}

TEST(Habits, HoweverTheyAreWritten) {
  const std::vector<Habit> habits = {
      {{"--epochs=3"}, mean("train.epochs")},
      {{"--lr=1e-3"}, "unknown key lr; " + mean("optimizer.lr")},
      {{"-lr", "1e-3"}, mean("optimizer.lr")},
      {{"--TRAIN.STEPS", "4"}, mean("train.steps")},
      {{"--tensorboard_dir", "x"}, mean("log.tensorboard")},
      {{"--wandb_dir", "x"}, "metrics.jsonl"},
      {{"--model.dropout_prob", "0.1"}, mean("model.dropout")},
      {{"--model.bias", "False"}, mean("no")},
      {{"--train.resume", "True"}, mean("yes")},
      {{"--trian.setps", "4"}, mean("train.steps")},
  };
  for (const Habit& habit : habits) {
    const std::string answer = refusal(habit.typed);
    EXPECT_NE(answer.find(habit.meant), std::string::npos)
        << habit.typed[0] << ": " << answer;
  }
}

TEST(Habits, WhatNothingIsLikeIsNotGuessed) {
  for (const std::string typed :
       {"--frobnicate", "--model.quux", "--x", "-q"}) {
    const std::string answer = refusal({typed, "1"});
    EXPECT_EQ(answer.find("did you mean"), std::string::npos) << answer;
    EXPECT_NE(answer.find("mumoe help train"), std::string::npos) << answer;
  }
  const std::string several = refusal({"--every", "1"});
  EXPECT_NE(several.find("checkpoint.every or log.every"), std::string::npos)
      << several;
  const std::string elsewhere = refusal({"--model.steps", "1"});
  EXPECT_NE(elsewhere.find("schedule.steps or train.steps"), std::string::npos)
      << elsewhere;
}

}  // namespace
}  // namespace mumoe::run

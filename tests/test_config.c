// SPDX-License-Identifier: Apache-2.0
// config.json: the fields of both forms that transformers writes, defaults, and what is refused.
#include "formats/config.h"

#include "tests/check.h"

#define SIZES "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":100"
#define LLAMA "\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\""

static rs_status parse(rs_config *c, const char *s, rs_error *e)
{
    memset(e, 0, sizeof *e);
    return rs_config_parse(c, s, strlen(s), e);
}

// The text is refused, and the message holds part.
static void refused(const char *s, const char *part)
{
    rs_config c;
    rs_error e;
    rs_status got = parse(&c, s, &e);
    CHECKF(got == RS_E_IMPORT && strstr(e.text, part) != NULL, "%s: %s \"%s\", wanted \"%s\"", s, rs_status_name(got), e.text, part);
}

static void accepted(void)
{
    rs_config c;
    rs_error e;
    if (!CHECKF(parse(&c, "{" LLAMA "," SIZES "}", &e) == RS_OK, "%s", e.text)) return;
    CHECK(strcmp(c.arch, "llama") == 0 && c.L == 2 && c.d == 64 && c.f == 96 && c.h == 16 && c.n_q == 4 && c.n_kv == 4 && c.V == 100);
    CHECK(c.norm_eps == 1e-6 && c.rope_theta == 10000 && c.rope_scaling == RS_ROPE_NONE && c.rope_factor == 1 && c.context == 2048);
    CHECK(!c.tied && !c.attention_bias && !c.mlp_bias && c.bos == -1 && c.eos == -1);

    CHECK(parse(&c, "{" LLAMA "," SIZES ",\"num_key_value_heads\":2,\"head_dim\":32,\"rms_norm_eps\":1e-05,\"rope_theta\":500000.0,\"tie_word_embeddings\":true,"
                    "\"attention_bias\":true,\"mlp_bias\":true,\"bos_token_id\":1,\"eos_token_id\":[2,3],\"max_position_embeddings\":8192,\"hidden_act\":\"silu\","
                    "\"rope_scaling\":{\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":4096,\"rope_type\":\"llama3\"}}", &e) == RS_OK);
    CHECK(c.n_kv == 2 && c.h == 32 && c.norm_eps == 1e-5 && c.rope_theta == 500000 && c.tied && c.attention_bias && c.mlp_bias && c.bos == 1 && c.eos == 2 && c.context == 8192);
    CHECK(c.rope_scaling == RS_ROPE_LLAMA3 && c.rope_factor == 8 && c.rope_low_freq == 1 && c.rope_high_freq == 4 && c.rope_original_context == 4096);

    CHECK(parse(&c, "{" LLAMA "," SIZES ",\"head_dim\":null,\"rope_scaling\":null,\"eos_token_id\":null,\"rope_parameters\":{\"rope_theta\":123.5,\"rope_type\":\"default\"}}", &e) == RS_OK);
    CHECK(c.h == 16 && c.rope_theta == 123.5 && c.rope_scaling == RS_ROPE_NONE && c.eos == -1);
    CHECK(parse(&c, "{" LLAMA "," SIZES ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}", &e) == RS_OK && c.rope_scaling == RS_ROPE_LINEAR && c.rope_factor == 2);
    CHECK(parse(&c, "{\"model_type\":\"llama\"," SIZES "}", &e) == RS_OK);
}

int main(void)
{
    accepted();
    refused("[]", "not an object");
    refused("{" LLAMA "," SIZES, "line 1");
    refused("{" SIZES "}", "\"architectures\" is missing");
    refused("{\"architectures\":[\"Qwen2ForCausalLM\"]," SIZES "}", "\"Qwen2ForCausalLM\" is not supported (supported: LlamaForCausalLM)");
    refused("{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"mistral\"," SIZES "}", "mistral");
    refused("{\"architectures\":\"LlamaForCausalLM\"," SIZES "}", "list of one name");
    refused("{" LLAMA "}", "\"num_hidden_layers\" is missing");
    refused("{" LLAMA "," SIZES ",\"hidden_act\":\"gelu\"}", "hidden_act");
    refused("{" LLAMA "," SIZES ",\"quantization_config\":{}}", "already quantised");
    refused("{" LLAMA ",\"hidden_size\":0,\"num_hidden_layers\":2}", "\"hidden_size\" is 0, not in 1..");
    refused("{" LLAMA ",\"num_hidden_layers\":1000000000}", "\"num_hidden_layers\" is 1000000000");
    refused("{" LLAMA ",\"num_hidden_layers\":\"2\"}", "not an integer");
    refused("{" LLAMA "," SIZES ",\"num_key_value_heads\":3}", "do not divide");
    refused("{" LLAMA ",\"hidden_size\":65,\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":100}", "do not divide the hidden size");
    refused("{" LLAMA "," SIZES ",\"head_dim\":15}", "odd");
    refused("{" LLAMA "," SIZES ",\"rms_norm_eps\":0}", "rms_norm_eps");
    refused("{" LLAMA "," SIZES ",\"rope_theta\":-1.0}", "rope_theta");
    refused("{" LLAMA "," SIZES ",\"partial_rotary_factor\":0.5}", "part of the head");
    refused("{" LLAMA "," SIZES ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2.0}}", "\"yarn\" is not supported");
    refused("{" LLAMA "," SIZES ",\"rope_scaling\":{\"rope_type\":\"linear\"}}", "\"factor\" is missing");
    refused("{" LLAMA "," SIZES ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2.0,\"low_freq_factor\":4.0,\"high_freq_factor\":1.0}}", "high_freq_factor");
    refused("{" LLAMA "," SIZES ",\"eos_token_id\":100}", "no token");
    refused("{" LLAMA "," SIZES ",\"tie_word_embeddings\":1}", "neither true nor false");
    return check_report();
}

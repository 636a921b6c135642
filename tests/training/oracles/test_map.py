"""Every identity and oracle that training is held to, and the test that holds it.

Sources: Ma et al. 2018 (MMoE), Tang et al. 2020 (CGC, PLE), Ma et al. 2018 (ESMM), Xi et al. 2021
(AITM), Su et al. 2024 (STEM), Li et al. 2023 (AdaTT), Chang et al. 2023 (PEPNet).
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ORACLES = {
    # Structure, with copied weights in float64
    "MMoE of one expert is Shared-Bottom, its gate has no gradient": (
        "rankers/test_identities.py",
        "test_mmoe_of_one_expert_is_shared_bottom_and_its_gate_never_learns",
    ),
    "OMoE is MMoE with tied gates": (
        "rankers/test_omoe.py",
        "test_omoe_is_mmoe_with_tied_gates",
    ),
    "equal experts make gates irrelevant": (
        "rankers/test_identities.py",
        "test_equal_experts_make_the_gates_of_mmoe_irrelevant",
    ),
    "CGC without own experts is MMoE": (
        "rankers/test_identities.py",
        "test_cgc_without_own_experts_is_mmoe",
    ),
    "CGC is MMoE with foreign experts shut out": (
        "rankers/test_identities.py",
        "test_cgc_is_mmoe_whose_gates_shut_out_foreign_experts",
    ),
    "PLE of one level is CGC": ("rankers/test_identities.py", "test_ple_of_one_level_is_cgc"),
    "no shared gate at PLE's last level": (
        "rankers/test_ple.py",
        "test_the_last_level_alone_has_no_shared_gate",
    ),
    "PLE's parameters by formula": (
        "rankers/test_ple.py",
        "test_parameters_are_counted_by_the_papers_formula",
    ),
    "ML-MMoE of one level is MMoE": ("rankers/test_ml_mmoe.py", "test_one_level_is_mmoe"),
    "AdaTT without residual is MMoE": (
        "rankers/test_adatt.py",
        "test_without_residual_one_level_of_one_expert_a_task_is_mmoe",
    ),
    "experts permute with their gates": (
        "rankers/test_identities.py",
        "test_permuting_experts_with_their_gate_columns_changes_nothing",
    ),
    "tasks permute with all that is theirs": (
        "rankers/test_ple.py",
        "test_permuting_tasks_with_all_that_is_theirs_permutes_the_outputs",
    ),
    "gates are distributions": (
        "modules/test_gate.py",
        "test_gate_weights_are_a_distribution_per_group",
    ),
    "a constant on all gate logits changes nothing": (
        "modules/test_gate.py",
        "test_adding_a_constant_to_all_logits_changes_nothing",
    ),
    "a gate that reads nothing is a constant mixture; there is no bias": (
        "modules/test_gate.py",
        "test_a_gate_that_reads_nothing_is_the_mean",
    ),
    "whose loss reaches whom in MMoE": (
        "rankers/test_mmoe.py",
        "test_a_tasks_loss_moves_all_experts_and_its_own_gate_alone",
    ),
    "whose loss reaches whom in PLE": (
        "rankers/test_ple.py",
        "test_a_loss_reaches_foreign_experts_below_the_last_level_and_foreign_gates_two_below",
    ),
    "STEM's tables stay out of other losses": (
        "rankers/test_stem.py",
        "test_a_loss_leaves_the_other_tasks_tables_and_experts_exactly_alone",
    ),
    "scene gates are the identity before training": (
        "modules/test_scene_gate.py",
        "test_nothing_is_scaled_before_training",
    ),
    "what decides a scene gate gets its gradient": (
        "modules/test_gate_nu.py",
        "test_only_prior_features_get_a_gradient_though_all_of_them_decide",
    ),
    "AITM weighs equals alike": (
        "rankers/test_aitm.py",
        "test_a_task_that_is_told_what_it_knows_weighs_both_alike",
    ),
    "AITM's calibrator is 0 on a falling chain": (
        "test_losses.py",
        "test_the_calibrator_is_zero_with_zero_gradient_where_probabilities_fall_along_the_chain",
    ),
    "a step changes nothing that is frozen": (
        "rankers/test_ple.py",
        "test_a_step_changes_nothing_that_is_frozen",
    ),
    # Losses
    "a loss over a space is the mean of its rows": (
        "test_losses.py",
        "test_the_loss_over_a_space_is_the_mean_over_its_rows_bit_for_bit",
    ),
    "rows outside a space change nothing": (
        "test_losses.py",
        "test_rows_outside_the_space_change_neither_loss_nor_gradient",
    ),
    "an empty space is 0": (
        "test_losses.py",
        "test_an_empty_space_is_zero_with_zero_gradients_not_nan",
    ),
    "rows in any order": ("test_losses.py", "test_the_order_of_rows_does_not_matter"),
    "ESMM's gradients in closed form": (
        "test_losses.py",
        "test_esmm_gradients_are_the_closed_form",
    ),
    "weights decay by omega gamma^t": (
        "balance/test_decay.py",
        "test_weights_are_the_first_ones_times_the_rate_to_the_epochs_or_steps_done",
    ),
    "uncertainty's optimum": (
        "balance/test_uncertainty.py",
        "test_at_the_optimum_every_task_contributes_a_half_and_weighs_one_over_twice_its_loss",
    ),
    "GradNorm's worked step": ("balance/test_gradnorm.py", "test_the_worked_step"),
    "GradNorm's weights sum to T": (
        "balance/test_gradnorm.py",
        "test_weights_move_by_measured_norms_and_sum_to_the_number_of_tasks",
    ),
    "GradNorm's weights and the network learn apart": (
        "balance/test_gradnorm.py",
        "test_the_network_learns_from_the_weights_before_the_step_and_the_weights_from_no_loss",
    ),
    "DWA's limits": (
        "balance/test_dwa.py",
        "test_equal_ratios_or_a_high_temperature_weigh_all_tasks_alike",
    ),
    "PCGrad of two": (
        "balance/test_pcgrad.py",
        "test_of_two_in_conflict_each_loses_its_part_against_the_other",
    ),
    "weighted logistic odds": (
        "readouts/test_odds.py",
        "test_with_the_papers_negatives_the_odds_are_the_sum_over_the_negatives",
    ),
    # ESMM's truth
    "a saturated ESMM says the frequencies": (
        "truth/test_conversion_estimators.py",
        "test_a_saturated_esmm_says_the_frequencies_of_every_cell",
    ),
    "well specified: click-only and ESMM are right, AMAN is not": (
        "truth/test_conversion_estimators.py",
        "test_where_the_model_can_say_the_truth_clicks_alone_suffice_and_negatives_do_not",
    ),
    "misspecified: ESMM as wrong as click-only, IPS right": (
        "truth/test_conversion_estimators.py",
        "test_where_it_cannot_esmm_is_as_wrong_as_clicks_alone_and_ips_is_right",
    ),
    "a hidden cause defeats all": (
        "truth/test_conversion_estimators.py",
        "test_nobody_recovers_what_a_hidden_cause_does",
    ),
    "unclicked rows reach the conversion tower": (
        "rankers/test_ranker.py",
        "test_unclicked_rows_move_the_conversion_tower_and_the_shared_embeddings",
    ),
    "items seen only unclicked are trained": (
        "rankers/test_ranker.py",
        "test_an_item_seen_only_unclicked_trains_under_esmm_and_not_under_click_only_cvr",
    ),
    "ctcvr is ctr * cvr bit for bit": (
        "rankers/test_ranker.py",
        "test_ctcvr_is_ctr_times_cvr_bit_for_bit_wherever_it_is_listed",
    ),
    "and so it is in the exported graph": (
        "test_export.py",
        "test_ctcvr_in_the_graph_is_ctr_times_cvr_bit_for_bit",
    ),
    "a product has no tower": (
        "rankers/test_ranker.py",
        "test_a_product_has_no_tower_and_an_auxiliary_task_no_stream",
    ),
    "every head is a probability": (
        "rankers/test_ranker.py",
        "test_every_trunk_gives_a_probability_a_head_and_row",
    ),
    # Watch time
    "D2Q rises inside a group": (
        "readouts/test_quantile.py",
        "test_ranks_and_amounts_rise_together_inside_a_group",
    ),
    "D2Q's empty group": (
        "readouts/test_quantile.py",
        "test_a_group_without_rows_takes_the_distribution_of_all",
    ),
    "D2Q's ranks are uniform": (
        "readouts/test_quantile.py",
        "test_ranks_are_uniform_in_every_group",
    ),
    "D2Q's way back": (
        "readouts/test_quantile.py",
        "test_the_way_back_is_the_identity_on_observed_amounts_in_range",
    ),
    "ordinal labels fall along the ladder": (
        "readouts/test_ordinal.py",
        "test_labels_fall_along_the_ladder_and_the_loss_is_their_mean_cross_entropy",
    ),
    "true survival gives the exact mean": (
        "readouts/test_ordinal.py",
        "test_true_probabilities_give_the_exact_mean_whatever_the_thresholds",
    ),
    # Fusion
    "a product is its sum of logs": (
        "../fusion/test_compiler.py",
        "test_a_product_equals_its_sum_of_logs",
    ),
    "exponent 0 is an absent head": (
        "../fusion/test_compiler.py",
        "test_a_head_with_exponent_0_is_absent",
    ),
    "exponents all 0 keep the order": (
        "../fusion/test_compiler.py",
        "test_exponents_all_0_leave_the_input_order",
    ),
    "scaled and bent heads": (
        "../fusion/test_compiler.py",
        "test_a_product_ranks_alike_when_a_head_is_scaled_and_ranks_when_it_is_bent",
    ),
    "one head orders by itself": (
        "../fusion/test_compiler.py",
        "test_a_single_head_orders_by_that_head",
    ),
    "candidates in any order": (
        "../fusion/test_compiler.py",
        "test_scores_move_with_their_candidates",
    ),
    "the vectorised kernel is the slow one": (
        "../fusion/test_compiler.py",
        "test_compiled_scores_equal_the_slow_reference_on_random_formulas",
    ),
    # Other libraries
    "torch-rechub, weight for weight": (
        "oracles/test_torch_rechub.py",
        "test_ple_gives_torch_rechubs_logits",
    ),
    "deepctr-torch, weight for weight": (
        "oracles/test_deepctr_torch.py",
        "test_ple_gives_deepctr_torchs_logits",
    ),
    "LibMTL, weight for weight": (
        "oracles/test_libmtl.py",
        "test_cgc_gives_libmtls_representations",
    ),
}


@pytest.mark.parametrize("oracle", ORACLES)
def test_the_test_that_holds_an_oracle_is_there(oracle):
    path, name = ORACLES[oracle]
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}

// Why this exists: one percentage for a whole experiment from the parts its stages report; it never goes back.
using System.Globalization;
using CoCLR.Core.Manifests.Status;
using CoCLR.Core.Planning;

namespace CoCLR.Operator.Reconciling;

/// <summary>Computes the progress of an experiment.</summary>
public static class ProgressCalculator
{
    /// <summary>Progress from what is seen.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="stages">What is seen of its stages.</param>
    /// <param name="known">Progress as stored.</param>
    public static ProgressStatus Of(StagePlan plan, IReadOnlyList<SeenStage> stages, ProgressStatus? known)
    {
        double total = 0, done = 0;
        double training = Math.Max(1, plan.Stages.Sum(s => s.Kind is StageKind.Pretrain or StageKind.Cotrain ? s.Epochs ?? 1 : 0));
        SeenStage? telling = null;
        foreach (SeenStage seen in stages)
        {
            Stage stage = plan.Stages.First(s => s.Name == seen.Status.Name);
            double weight = Weight(stage, training);
            total += weight;
            done += weight * Share(seen);
            if (seen.Report is { Outcome: null } report && seen.Status.State == StageState.Running
                && (telling?.Report == null || report.At > telling.Report.At))
            {
                telling = seen;
            }
        }

        int percent = Math.Max(known?.Percent ?? 0, Math.Min(100, (int)Math.Floor(100 * done / total)));
        ProgressStatus next = new() { Percent = percent, Text = string.Create(CultureInfo.InvariantCulture, $"{percent}%") };
        if (telling?.Report is { } said)
        {
            return next with
            {
                Stage = telling.Status.Name,
                StagePercent = said.Percent,
                Epoch = said.Epoch,
                Epochs = said.Epochs,
                Step = said.Step,
                EtaSeconds = said.EtaSeconds,
                UpdatedAt = said.At,
            };
        }

        // Nobody tells anything: what was told stays as long as its stage runs.
        bool still = known?.Stage is { } name
            && stages.Any(s => s.Status.Name == name && s.Status.State is StageState.Running or StageState.Restarting);
        return still
            ? next with
            {
                Stage = known!.Stage,
                StagePercent = known.StagePercent,
                Epoch = known.Epoch,
                Epochs = known.Epochs,
                Step = known.Step,
                EtaSeconds = known.EtaSeconds,
                UpdatedAt = known.UpdatedAt
            }
            : next with { UpdatedAt = known?.UpdatedAt };
    }

    private static double Share(SeenStage seen)
    {
        if (seen.Status.State == StageState.Succeeded)
        {
            return 1;
        }

        if (seen.Report is not { } report)
        {
            return 0;
        }

        return Math.Clamp(
            report.Percent / 100.0 ?? (report is { Epoch: { } epoch, Epochs: > 0 and { } epochs } ? (double)epoch / epochs : 0), 0, 0.99);
    }

    // Training takes nearly all of the time; the rest is what these stages usually take beside it.
    private static double Weight(Stage stage, double training) => stage.Kind switch
    {
        StageKind.Pretrain or StageKind.Cotrain => Math.Max(0.005 * training, stage.Epochs ?? 1),
        StageKind.Decode => 0.03 * training,
        StageKind.Flow => 0.05 * training,
        StageKind.Probe => 0.05 * training,
        StageKind.Finetune => 0.1 * training,
        StageKind.Retrieve => 0.02 * training,
        _ => 0.005 * training,
    };
}

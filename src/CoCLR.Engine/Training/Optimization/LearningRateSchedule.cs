// Why this exists: the learning rate is a pure function of where training stands, so that resuming needs no state.
using CoCLR.Core.Manifests;

namespace CoCLR.Engine.Training.Optimization;

/// <summary>Factors on the base learning rate as functions of the epoch; whole epochs step, fractions serve cosine and warm-up.</summary>
public static class LearningRateSchedule
{
    /// <summary>0.1 to the number of milestones reached: base · 0.1^|{m : epoch ≥ m}|. [method.md 1c]</summary>
    /// <param name="epoch">Epoch from 0; a fraction is cut off.</param>
    /// <param name="milestones">Epochs at which the rate is divided by ten.</param>
    /// <param name="gamma">Factor at each milestone.</param>
    public static double Step(double epoch, IReadOnlyList<int> milestones, double gamma = 0.1)
    {
        ArgumentNullException.ThrowIfNull(milestones);
        return Math.Pow(gamma, milestones.Count(m => Math.Floor(epoch) >= m));
    }

    /// <summary>Half a cosine from 1 at epoch 0 to 0 at the end: (1 + cos(π·epoch/epochs)) / 2. [Loshchilov, Hutter 2017]</summary>
    /// <param name="epoch">Epoch from 0, with its fraction.</param>
    /// <param name="epochs">Length of training.</param>
    public static double Cosine(double epoch, double epochs) =>
        epochs <= 0 ? 1 : 0.5 * (1 + Math.Cos(Math.PI * Math.Clamp(epoch / epochs, 0, 1)));

    /// <summary>Linear rise to 1 over the first epochs; the first step is not 0.</summary>
    /// <param name="step">Step from 0 within training.</param>
    /// <param name="warmupSteps">Steps of the rise; 0 for none.</param>
    public static double WarmUp(long step, long warmupSteps) => warmupSteps <= 0 ? 1 : Math.Min(1, (step + 1) / (double)warmupSteps);

    /// <summary>The rate of one step: base rate × schedule × warm-up. The cosine runs over the epochs after the warm-up.</summary>
    /// <param name="optimizer">Name of the schedule, milestones, warm-up and base rate.</param>
    /// <param name="epochs">Length of training in epochs.</param>
    /// <param name="step">Step from 0 within training.</param>
    /// <param name="stepsPerEpoch">Steps of an epoch, at least 1.</param>
    public static double Rate(OptimizerSpec optimizer, int epochs, long step, long stepsPerEpoch)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentOutOfRangeException.ThrowIfLessThan(stepsPerEpoch, 1);
        var epoch = (double)step / stepsPerEpoch;
        var factor = optimizer.Schedule switch
        {
            Schedule.Step => Step(epoch, optimizer.Milestones ?? DefaultMilestones(epochs)),
            Schedule.Cosine => Cosine(epoch - optimizer.WarmupEpochs, epochs - optimizer.WarmupEpochs),
            _ => 1,
        };
        var baseRate = double.Parse(optimizer.LearningRate, System.Globalization.CultureInfo.InvariantCulture);
        return baseRate * factor * WarmUp(step, optimizer.WarmupEpochs * stepsPerEpoch);
    }

    /// <summary>Five sixths and fourteen fifteenths of the epochs: 250 and 280 of 300, as the reference trains. [method.md 1c]</summary>
    /// <param name="epochs">Length of training.</param>
    public static IReadOnlyList<int> DefaultMilestones(int epochs) =>
        [(int)Math.Round(epochs * 5 / 6.0), (int)Math.Round(epochs * 14 / 15.0)];
}

// Why this exists: who trains on a card learns its size by filling it; the process that just did can say what would fit, because it can
// try.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Context;

namespace CoCLR.Engine.Training;

/// <summary>Says in one sentence what filled the memory and which batch would not.</summary>
internal static class FullMemory
{
    /// <summary>The error of a training whose batch does not fit.</summary>
    /// <param name="context">The stage.</param>
    /// <param name="tryBatch">Takes all passes of a step with a batch; throws where that fills the memory, too. The process ends after
    /// this: what trying changes is written nowhere.</param>
    /// <param name="kept">The last checkpoint and its step, if there is one.</param>
    /// <param name="error">What libtorch threw.</param>
    public static UserErrorException Error(StageContext context, Action<int> tryBatch, (string File, long Step)? kept, Exception error)
    {
        TrainingSpec training = context.Spec.Training;
        ClipSpec clip = context.Spec.Clip;
        int fits = Below(training.BatchSize, training.QueueSize, training.BatchNormGroups).FirstOrDefault(batch => Fits(batch, tryBatch));
        string advice = fits > 0
            ? $"A batch of {fits} fits: set training.batchSize to {fits}"
            : "No smaller batch fits: lower clip.frames or clip.size";
        string lost = kept is { } last ? $"nothing is lost: step {last.Step} is in {last.File}" : "no step was kept yet";
        return new UserErrorException(
            $"{context.Stage.Name}: a batch of {training.BatchSize} clips of 3x{clip.Frames}x{clip.Size}x{clip.Size} does not fit the "
                + $"memory of {DeviceMemory.Card(context.Device) ?? context.DeviceName}. "
            + $"{advice}, or use a device with more memory; {lost}.",
            ExitCodes.Failed,
            error);
    }

    /// <summary>
    /// Smaller batches that a manifest's rules allow, the largest first, each at most three quarters of the one before: parts of the queue
    /// that the groups of batch norm divide.
    /// </summary>
    /// <param name="batch">The batch that is too large.</param>
    /// <param name="queue">training.queueSize.</param>
    /// <param name="groups">training.batchNormGroups.</param>
    public static IEnumerable<int> Below(int batch, int queue, int groups)
    {
        for (int size = batch - 1, last = batch; size >= Math.Max(2, groups); size--)
        {
            if (queue % size == 0 && size % groups == 0 && 4 * size <= 3 * last)
            {
                last = size;
                yield return size;
            }
        }
    }

    private static bool Fits(int batch, Action<int> tryBatch)
    {
        GC.Collect();
        GC.WaitForPendingFinalizers(); // graphs of the step that failed
        try
        {
            tryBatch(batch);
            return true;
        }
        catch (Exception e) when (DeviceMemory.IsFull(e))
        {
            return false;
        }
    }
}

// Why this exists: a training of days must not grow; on a GPU what grows is not the process's memory but the card's.
using CoCLR.Core.Manifests;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Checks;

/// <summary>Memory of the card, or of the process on a processor, over many training steps.</summary>
internal sealed class MemoryCheck(DeviceCheck check)
{
    private const int Batch = 4;

    /// <summary>The comparison.</summary>
    public IEnumerable<Comparison> All()
    {
        int steps = check.Small ? 60 : 500;
        return [new($"memory over {steps} steps, growth in MiB after the first fifth", Precision.Fp32, 32, () => Growth(steps))];
    }

    private double Growth(int steps)
    {
        using VideoEncoder query = Encoder();
        using var momentum = new MomentumEncoder(query, Encoder());
        query.train();
        momentum.Key.train();
        using var queue = new KeyQueue(16, 64, seed: 2, device: check.Device);
        using var optimizer = new Adam([momentum.Trained()], 1e-4);
        using GpuMeter? meter = GpuMeter.Open(check.Device);
        using Tensor clips = NetworkChecks.Clips(1, 2 * Batch, 8, 32).to(check.Device);
        double before = 0;
        for (int step = 0; step < steps; step++)
        {
            using (DisposeScope scope = NewDisposeScope())
            {
                Tensor q = query.forward(clips.narrow(0, 0, Batch));
                momentum.Update();
                Tensor k = momentum.EncodeKeys(clips.narrow(0, Batch, Batch));
                Tensor loss = InfoNce.Loss(ContrastiveLogits.Of(q, k, queue.Keys, 0.07));
                optimizer.ZeroGradients();
                loss.backward();
                optimizer.Step();
                queue.Enqueue(k, step: step);
                _ = check.Through("memory", loss);
            }

            if (step == steps / 5)
            {
                before = Mebibytes(meter);
            }
        }

        return Math.Max(0, Mebibytes(meter) - before);
    }

    private VideoEncoder Encoder() => VideoEncoder.Create("S3DMini", 16, seed: 4, check.Device, width: 0.0625);

    private static double Mebibytes(GpuMeter? meter)
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        using var process = System.Diagnostics.Process.GetCurrentProcess();
        return (meter?.Read()?.MemoryBytes ?? process.WorkingSet64) / (double)(1 << 20);
    }
}

// Why this exists: a training that waits for its data, or leaves its device idle, must be seen while it runs.
using System.Diagnostics;
using CoCLR.Core.Events;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>Clips a second, the share of time that steps waited for data, and what the process uses.</summary>
internal sealed class SpeedMeter(TrainingData data, Device device) : IDisposable
{
    private readonly GpuMeter? _gpu = GpuMeter.Open(device);
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly Process _process = Process.GetCurrentProcess();
    private long _clips;
    private long _clipsBefore;
    private int _steps;
    private TimeSpan _reported;
    private TimeSpan _cpuBefore = Process.GetCurrentProcess().TotalProcessorTime;
    private TimeSpan _waitedBefore = data.Waited;
    private TimeSpan _waitedAtStart = data.Waited;

    public double ClipsPerSecond => _clock.Elapsed.TotalSeconds > 0 ? _clips / _clock.Elapsed.TotalSeconds : 0;

    public double WaitShare => _clock.Elapsed.TotalSeconds > 0 ? (data.Waited - _waitedAtStart) / _clock.Elapsed : 0;

    public void Dispose()
    {
        _gpu?.Dispose();
        _process.Dispose();
    }

    /// <summary>Begins anew: what came before was another kind of work.</summary>
    public void Restart()
    {
        _clock.Restart();
        (_clips, _clipsBefore, _steps, _reported) = (0, 0, 0, TimeSpan.Zero);
        _process.Refresh();
        _cpuBefore = _process.TotalProcessorTime;
        _waitedBefore = _waitedAtStart = data.Waited;
    }

    public void Count(int clips)
    {
        _clips += clips;
        _steps++;
    }

    public void Report(Dictionary<string, double> values)
    {
        TimeSpan now = _clock.Elapsed;
        TimeSpan passed = now - _reported;
        if (passed <= TimeSpan.Zero)
        {
            return;
        }

        _process.Refresh();
        TimeSpan cpu = _process.TotalProcessorTime;
        values[MetricNames.ClipsPerSecond] = (_clips - _clipsBefore) / passed.TotalSeconds;
        values[MetricNames.StepSeconds] = passed.TotalSeconds / Math.Max(1, _steps);
        values[MetricNames.WaitShare] = (data.Waited - _waitedBefore) / passed;
        values[MetricNames.Memory] = _process.WorkingSet64;
        values[MetricNames.CpuCores] = (cpu - _cpuBefore) / passed;
        if (_gpu?.Read() is { } gpu)
        {
            (values[MetricNames.GpuUse], values[MetricNames.GpuMemory]) = (gpu.Use, gpu.MemoryBytes);
        }

        (_reported, _clipsBefore, _steps, _cpuBefore, _waitedBefore) = (now, _clips, 0, cpu, data.Waited);
    }
}

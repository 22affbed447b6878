// Why this exists: one exception type for everything a person can fix, so that every host prints it the same way and exits with the documented code.
namespace CoCLR.Core;

/// <summary>The documented exit codes of every `coclr` process (docs/architecture.md, command line).</summary>
public static class ExitCodes
{
    /// <summary>The work is done.</summary>
    public const int Done = 0;

    /// <summary>Failed; trying again may help.</summary>
    public const int Failed = 1;

    /// <summary>Wrong command line (sysexits EX_USAGE); never retried.</summary>
    public const int Usage = 64;

    /// <summary>Bad data (EX_DATAERR); never retried.</summary>
    public const int BadData = 65;

    /// <summary>An input is missing (EX_NOINPUT); never retried.</summary>
    public const int MissingInput = 66;

    /// <summary>The disk is full (EX_IOERR); trying again at once cannot help, running again when there is space goes on.</summary>
    public const int DiskFull = 74;

    /// <summary>Bad configuration (EX_CONFIG); never retried.</summary>
    public const int BadConfiguration = 78;

    /// <summary>Stopped by SIGTERM after a checkpoint was written; continues when started again.</summary>
    public const int Terminated = 143;

    /// <summary>True for the codes 64 to 78, which say that trying again cannot help.</summary>
    /// <param name="code">An exit code.</param>
    public static bool IsPermanent(int code) => code is >= 64 and <= 78;
}

/// <summary>An error that a person can fix: the message says what, where (file or field) and how to fix it.</summary>
public class UserErrorException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">One clear sentence: what, where (file, field), how to fix.</param>
    /// <param name="exitCode">One of <see cref="ExitCodes"/>.</param>
    /// <param name="innerException">The cause, shown only in verbose logs.</param>
    public UserErrorException(string message, int exitCode = ExitCodes.Failed, Exception? innerException = null)
        : base(message, innerException)
    {
        ExitCode = exitCode;
    }

    /// <summary>The exit code of the process that ends with this error.</summary>
    public int ExitCode { get; }
}

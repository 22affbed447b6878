// Why this exists: the operator's process: settings, then the web application that runs it.
using CoCLR.Core;
using CoCLR.Operator.Hosting;

try
{
    await using WebApplication app = OperatorHost.Build(OperatorOptions.Read(args));
    await app.RunAsync();
    return ExitCodes.Done;
}
catch (UserErrorException error)
{
    await Console.Error.WriteLineAsync(error.Message);
    return error.ExitCode;
}

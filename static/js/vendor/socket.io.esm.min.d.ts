/** The part of socket.io-client that the page uses. */

export interface Socket {
  connected: boolean;
  active: boolean;
  connect(): Socket;
  on(event: string, handler: (payload: any) => void): Socket;
  timeout(ms: number): { emitWithAck(event: string, payload: unknown): Promise<any> };
}

export interface Options {
  path: string;
  transports: string[];
  tryAllTransports: boolean;
  reconnectionDelay: number;
  reconnectionDelayMax: number;
  autoConnect: boolean;
}

export function io(uri: string, options: Options): Socket;

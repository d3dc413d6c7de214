/** The part of socket.io-client that the page uses. */

export interface Socket {
  connected: boolean;
  active: boolean;
  connect(): Socket;
  disconnect(): Socket;
  on(event: string, handler: (payload: any) => void): Socket;
  onAny(handler: (...args: any[]) => void): Socket;
  timeout(ms: number): { emitWithAck(event: string, payload: unknown): Promise<any> };
}

export interface Options {
  path: string;
  forceNew?: boolean;
  transports: string[];
  tryAllTransports: boolean;
  timeout: number;
  reconnectionDelay: number;
  reconnectionDelayMax: number;
  autoConnect: boolean;
  auth?: Record<string, unknown>;
}

export function io(uri: string, options: Options): Socket;
